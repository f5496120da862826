/// <reference types="node" />
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { expect, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import { describe } from "vitest"
import * as Server from "../../examples/chat/server.ts"
import { ChannelExists, ChatApi } from "../../examples/minimal/api.ts"
import { Channel } from "../../examples/minimal/schema.ts"
import { evicting } from "../deployment/evicting.ts"
import { changeAttachments, memory } from "../deployment/memory.ts"
import { app, NotesApi } from "../worker/notes.ts"
import { Here, suite } from "./stockClientCases.ts"

suite(
  "The stock client in memory",
  Layer.effect(
    Here,
    Effect.acquireRelease(
      Effect.promise(() => memory(app)),
      ({ close }) => Effect.promise(close)
    )
  )
)

suite(
  "The stock client in memory, with an eviction between every two messages",
  Layer.effect(
    Here,
    Effect.map(
      Effect.acquireRelease(
        Effect.promise(() => memory(app)),
        ({ close }) => Effect.promise(close)
      ),
      evicting
    )
  )
)

describe("evictions between every two messages", () => {
  /** The frames that a live query of Effect's own client gets while notes are added, and how often the object started. */
  const converse = async () => {
    const deployment = await memory(app)
    const here = evicting(deployment)
    const frames: Array<unknown> = []
    const program = Effect.gen(function* () {
      const built = yield* Layer.build(here.protocol("socket", "main"))
      const rpc = yield* RpcClient.make(NotesApi, { flatten: true }).pipe(Effect.provideContext(built))
      yield* rpc("live:notes.list", {}).pipe(
        Stream.runForEach((frame) => Effect.sync(() => void frames.push(frame))),
        Effect.forkScoped
      )
      yield* Effect.promise(() => expect.poll(() => frames.length).toBe(1))
      for (const body of ["one", "two", "three"]) {
        yield* rpc("notes.add", { body })
        // The frame comes with the answer, or is lost.
        for (let i = 0; i < 5; i++) yield* rpc("look", {})
      }
    })
    await Effect.runPromise(Effect.scoped(program))
    await deployment.close()
    return { frames: frames.length, starts: here.starts("main") }
  }

  it("L7 L10: a live query follows, although the object starts before each message", async () => {
    const { frames, starts } = await converse()
    expect(frames).toBe(4)
    // 19 requests, 18 exits, 4 frames and their acknowledgements; some find the object as the eviction before left it.
    expect(starts).toBeGreaterThan(19)
  })

  it("control: an object whose attachments lose the subscriptions is found out", async () => {
    const restore = changeAttachments((text) => JSON.stringify({ ...JSON.parse(text), subscriptions: [] }))
    try {
      expect((await converse()).frames).toBe(1)
    } finally {
      restore()
    }
  })
})

/** The URL of the chat of examples/minimal in a workerd of its own. */
class Url extends Context.Service<Url, string>()("test/Url") {
  static readonly layer = Layer.effect(
    Url,
    Effect.gen(function* () {
      const data = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "dormouse-test-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      )
      return yield* Server.make({
        port: 0,
        data,
        worker: fileURLToPath(new URL("../../examples/minimal/worker.ts", import.meta.url))
      })
    })
  )
}

layer(Url.layer, { excludeTestServices: true, timeout: 300_000 })("The stock client and a process of its own", (it) => {
  const connect = (protocol: Layer.Layer<RpcClient.Protocol, never, RpcSerialization.RpcSerialization>) =>
    Effect.gen(function* () {
      const built = yield* Layer.build(Layer.provide(protocol, RpcSerialization.layerJson))
      return yield* RpcClient.make(ChatApi, { flatten: true }).pipe(Effect.provideContext(built))
    })
  const overHttp = Effect.flatMap(Url, (url) =>
    connect(Layer.provide(RpcClient.layerProtocolHttp({ url: `${url}/rpc` }), FetchHttpClient.layer))
  )
  const overSocket = Effect.flatMap(Url, (url) => {
    const socket = Socket.layerWebSocket(`${url.replace("http", "ws")}/rpc`)
    return connect(
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(socket),
        // The process's own WebSocket.
        Layer.provide(Socket.layerWebSocketConstructorGlobal)
      )
    )
  })

  it.effect("L10: HTTP and a real socket reach the same object", () =>
    Effect.gen(function* () {
      const [http, socket] = [yield* overHttp, yield* overSocket]
      const channel = yield* http("channels.create", { name: "general" })
      expect(channel).toBeInstanceOf(Channel)
      expect(yield* socket("channels.list", {})).toEqual([channel])
      for (const rpc of [http, socket]) {
        const error = yield* Effect.flip(rpc("channels.create", { name: "general" }))
        expect(error).toBeInstanceOf(ChannelExists)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("L10: a live query over a real socket follows writes over HTTP, and can be ended", () =>
    Effect.gen(function* () {
      const [http, socket] = [yield* overHttp, yield* overSocket]
      const names: Array<ReadonlyArray<string>> = []
      const watching = yield* socket("live:channels.list", {}).pipe(
        Stream.runForEach((frame) =>
          Effect.sync(() => {
            if (frame._tag === "Snapshot") names.push(frame.value.map(({ name }) => name))
            else names.push([frame._tag])
          })
        ),
        Effect.forkChild
      )
      const until = (condition: () => boolean) => Effect.promise(() => expect.poll(condition).toBe(true))
      yield* until(() => names.length === 1)
      yield* http("channels.create", { name: "random" })
      yield* until(() => names.length === 2)
      expect(names[0]).toEqual(["general"])
      yield* Fiber.interrupt(watching)
      yield* http("channels.create", { name: "unseen" })
      expect((yield* socket("channels.list", {})).map(({ name }) => name)).toEqual(["general", "random", "unseen"])
      expect(names).toHaveLength(2)
    }).pipe(Effect.scoped)
  )
})
