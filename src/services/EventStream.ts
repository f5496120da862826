/**
 * Topics, histories and change feeds as Server-Sent Events: `Pubsub.make({ events: EventStream.make() })`.
 * What a topic sends to its reader becomes events; `events/EventReader.ts` reads it.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Events } from "../contract/Pubsub.ts"
import { CallError } from "../protocol/CallError.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import { type EventTimes, failureIn, reader, refusal, requestId } from "./events/EventReader.ts"

export type { Events } from "../contract/Pubsub.ts"

/** What `make` takes. */
export interface EventStreamOptions extends EventTimes {}

/** Answers `GET /rpc/events/<tag>?payload=<JSON>` with what the topic sends to the caller. */
export const make = (options: EventStreamOptions = {}): Events => {
  const read = reader(options)
  return {
    tagOf: ({ pathname }) => (pathname.startsWith(path) ? tagIn(pathname.slice(path.length)) : undefined),
    respond: async (request, tag, host) => {
      const payload = payloadOf(request)
      if (payload === undefined) return refusal(400, "`payload` is not JSON")
      const socket = await host.connect()
      if (socket instanceof Response) return socket
      const asked = { _tag: "Request", id: requestId, tag, payload: payload.value, headers: [] }
      return read(socket, host, request.signal, {
        // The answer to the second comes after that of a reader who is refused. Alone, the platform would answer it by itself.
        begin: [asked, { _tag: "Ping" }],
        textOf: (values) => values.map(eventOf).join(""),
        refuse: (exit) => {
          const error = failureIn(exit) ?? null
          return refusal(statusOf(error), error)
        }
      })
    }
  }
}

const path = "/rpc/events/"

const tagIn = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** The payload of the request. A client that connects again says after which event it goes on. */
const payloadOf = (request: Request): { readonly value: unknown } | undefined => {
  const text = new URL(request.url).searchParams.get("payload")
  const decoded = text === null ? Option.some<unknown>({}) : decodeJson(text)
  if (Option.isNone(decoded)) return undefined
  const { value } = decoded
  const last = request.headers.get("last-event-id") ?? ""
  const hasPlace = typeof value === "object" && value !== null && !Array.isArray(value)
  return { value: last !== "" && hasPlace ? { ...value, after: last } : value }
}

const decodeCursor = Schema.decodeUnknownOption(Schema.Struct({ cursor: Schema.String }))

const eventOf = (value: Schema.Json): string => {
  const cursor = Option.getOrUndefined(decodeCursor(value))?.cursor
  return `${cursor === undefined ? "" : `id: ${cursor}\n`}data: ${JSON.stringify(value)}\n\n`
}

const decodeCallError = Schema.decodeUnknownOption(jsonCodec(CallError))
const decodeExpired = Schema.decodeUnknownOption(Schema.Struct({ _tag: Schema.Literal("ChangesExpired") }))

/** The status for the error with which a reader is refused. */
const statusOf = (error: Schema.Json): number => {
  const known = Option.getOrUndefined(decodeCallError(error))
  if (known instanceof CallError) return known.isRetryable ? 503 : 400
  return Option.isSome(decodeExpired(error)) ? 410 : 403
}
