/// <reference types="node" />
import { readFileSync } from "node:fs"
import { URL } from "node:url"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { CallError, InternalError } from "../../src/protocol/CallError.ts"
import * as Checksum from "../../src/protocol/Checksum.ts"
import { Frame } from "../../src/protocol/Frame.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { NotesApi } from "../worker/notes.ts"
import errors from "./fixtures/errors.json" with { type: "json" }
import frames from "./fixtures/frames.json" with { type: "json" }
import { fill, type Message, overHttp, overSockets } from "./fixtures.ts"

/** Decodes as Effect's client does, and encodes the result. */
const roundTrip = (schema: Schema.Top, encoded: unknown): { readonly decoded: any; readonly again: unknown } => {
  const codec = Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>)
  const decoded = Schema.decodeUnknownSync(codec)(encoded)
  return { decoded, again: Schema.encodeUnknownSync(codec)(decoded) }
}

/** The schema of a message's content, for the request that it answers. */
const carriedBy = (
  message: Message,
  tags: ReadonlyMap<unknown, string>
): readonly [Schema.Top, unknown] | undefined => {
  const tag = tags.get(message.requestId)
  const rpc = tag === undefined ? undefined : (NotesApi.requests.get(tag as never) as Rpc.AnyWithProps | undefined)
  if (rpc === undefined) return undefined
  if (message._tag === "Exit") return [Rpc.exitSchema(rpc as never) as unknown as Schema.Top, message.exit]
  if (message._tag !== "Chunk") return undefined
  if (!RpcSchema.isStreamSchema(rpc.successSchema)) throw new Error(`${tag} does not stream`)
  return [Schema.NonEmptyArray(rpc.successSchema.success), message.values]
}

const check = (messages: ReadonlyArray<Message>, tags: ReadonlyMap<unknown, string>) => {
  let count = 0
  for (const message of fill(messages, new Map())) {
    const carried = carriedBy(message, tags)
    if (carried === undefined) continue
    count++
    const { again } = roundTrip(...carried)
    // A defect is decoded to an `Error` with its message.
    if (JSON.stringify(message).includes("InternalError")) continue
    expect(again, JSON.stringify(message)).toEqual(carried[1])
  }
  return count
}

const requestsOf = (messages: unknown): ReadonlyArray<readonly [unknown, string]> =>
  [messages].flat().flatMap((message: any) => (message?._tag === "Request" ? [[message.id, message.tag] as const] : []))

describe("the protocol's fixtures and Effect's client", () => {
  for (const { name, steps } of overHttp) {
    it(`${name}: every answer matches the contract`, () => {
      let count = 0
      for (const { request, response } of steps) {
        if (Array.isArray(response.body)) count += check(response.body, new Map(requestsOf(request.body)))
      }
      expect(count > 0).toBe(name !== "http-refusals")
    })
  }

  for (const { name, steps } of overSockets) {
    it(`${name}: every answer matches the contract`, () => {
      const tags = new Map<unknown, string>()
      let count = 0
      for (const step of steps) {
        if ("client" in step) for (const [id, tag] of requestsOf(step.client)) tags.set(id, tag)
        if ("batch" in step) for (const [id, tag] of requestsOf(step.batch)) tags.set(id, tag)
        if ("server" in step) count += check(step.server, tags)
      }
      expect(count).toBeGreaterThan(0)
    })
  }

  it("C2 frames: a client that applies them has these values, with these checksums", () => {
    for (const { frames: given, values } of frames.streams) {
      let parts = ""
      let value: unknown = "<nothing>"
      let hash = ""
      const seen = given.map((encoded) => {
        let { decoded: frame } = roundTrip(Frame(Schema.Json), encoded)
        if (frame._tag === "Part") {
          parts += frame.text
          if (!frame.last) return value
          frame = roundTrip(Frame(Schema.Json), JSON.parse(parts)).decoded
        }
        if (frame._tag === "Snapshot") value = frame.value
        if (frame._tag === "Patch") value = Result.getOrThrow(Patch.apply(value as Schema.Json, frame.ops))
        if (frame._tag !== "Current") hash = frame.hash
        const sum = Checksum.ofFrame(Checksum.ofJson(value as Schema.Json), frame.version, hash)
        expect(frame.sum).toBe(Checksum.addRequest(sum, "1"))
        return value
      })
      expect(seen).toEqual(values)
    }
  })

  it("docs/protocol.md shows only messages of the fixtures", () => {
    const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")
    const shown = [...page.matchAll(/^```json\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => block!.trim().split("\n"))
    expect(shown.length).toBeGreaterThan(10)
    const known = new Set<string>()
    const collect = (value: unknown): void => {
      known.add(JSON.stringify(value))
      if (typeof value === "object" && value !== null) for (const part of Object.values(value)) collect(part)
    }
    for (const file of [...overHttp, ...overSockets, frames, errors]) collect(file)
    for (const line of shown) expect(known, line).toContain(JSON.stringify(JSON.parse(line)))
  })

  it("errors: every error matches the client's classes", () => {
    for (const encoded of errors.fails) {
      const { again, decoded } = roundTrip(CallError, encoded)
      expect(decoded).toBeInstanceOf(CallError)
      expect(decoded.isRetryable).toBe(["CallLost", "TooManyRequests", "Unavailable"].includes(encoded.reason._tag))
      expect(again).toEqual(encoded)
      const exit = { _tag: "Failure", cause: [{ _tag: "Fail", error: encoded }] }
      const rpc = NotesApi.requests.get("look")!
      expect(Exit.isFailure(roundTrip(Rpc.exitSchema(rpc) as unknown as Schema.Top, exit).decoded)).toBe(true)
    }
    const reasons = CallError.fields.reason.members.map(({ fields }) => fields._tag.schema.literal)
    expect(new Set(errors.fails.map(({ reason }) => reason._tag))).toEqual(new Set(reasons))
    for (const encoded of errors.dies) expect(roundTrip(InternalError, encoded).again).toEqual(encoded)
  })
})
