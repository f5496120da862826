/**
 * Topics, histories and change feeds as Server-Sent Events: `Pubsub.make({ events: EventStream.make() })`.
 * The Worker reads from the object over a socket, so that the object hibernates while there is nothing to send. It acknowledges
 * what its client has taken, so that a slow client is a slow reader.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { EventHost, EventSocket, Events } from "../contract/Pubsub.ts"
import { CallError } from "../protocol/CallError.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"

export type { Events } from "../contract/Pubsub.ts"

/** What `make` takes. */
export interface EventStreamOptions {
  /** After which time a client connects again whose connection was lost. 3 seconds unless given. */
  readonly retry?: Duration.Input
  /** How often a comment is sent, by which proxies see that the connection lives. 20 seconds unless given. */
  readonly heartbeat?: Duration.Input
}

/** Answers `GET /rpc/events/<tag>?payload=<JSON>` with what the topic sends to the caller. */
export const make = ({ heartbeat = "20 seconds", retry = "3 seconds" }: EventStreamOptions = {}): Events => {
  const first = `retry: ${Duration.toMillis(Duration.fromInputUnsafe(retry))}\n\n`
  const beats = Schedule.spaced(heartbeat)
  return {
    tagOf: ({ pathname }) => (pathname.startsWith(path) ? tagIn(pathname.slice(path.length)) : undefined),
    respond: async (request, tag, host) => {
      const payload = payloadOf(request)
      if (payload === undefined) return refusal(400, "`payload` is not JSON")
      const socket = await host.connect()
      if (socket instanceof Response) return socket
      return new Reader(socket, host, request.signal, first, beats).start({ tag, payload })
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

const Message = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Chunk"), values: Schema.Array(Schema.Json) }),
  Schema.Struct({ _tag: Schema.Literal("Exit"), exit: Schema.Json }),
  Schema.Struct({ _tag: Schema.Literal("Pong") })
])
const decodeMessages = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Union([Message, Schema.Array(Message)])))

const Failed = Schema.Struct({
  _tag: Schema.Literal("Failure"),
  cause: Schema.Array(Schema.Struct({ error: Schema.optionalKey(Schema.Json) }))
})
const decodeFailed = Schema.decodeUnknownOption(Failed)
const decodeCallError = Schema.decodeUnknownOption(jsonCodec(CallError))
const decodeCursor = Schema.decodeUnknownOption(Schema.Struct({ cursor: Schema.String }))

const requestId = "events"

/** One connection of a client. */
class Reader {
  private readonly socket: EventSocket
  private readonly host: EventHost
  private readonly signal: AbortSignal
  private readonly first: string
  private readonly beats: Schedule.Schedule<unknown>
  private readonly answered = Promise.withResolvers<Response>()
  private readonly ended = Promise.withResolvers<void>()
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined
  /** Chunks that the client has not taken. */
  private waiting = 0

  constructor(
    socket: EventSocket,
    host: EventHost,
    signal: AbortSignal,
    first: string,
    beats: Schedule.Schedule<unknown>
  ) {
    this.socket = socket
    this.host = host
    this.signal = signal
    this.first = first
    this.beats = beats
  }

  start(asked: { readonly tag: string; readonly payload: { readonly value: unknown } }): Promise<Response> {
    const { socket } = this
    socket.addEventListener("message", ({ data }) => this.received(String(data)))
    socket.addEventListener("close", () => this.lost())
    socket.addEventListener("error", () => this.lost())
    this.signal.addEventListener("abort", () => this.end(), { once: true })
    const begin = () => {
      const { payload, tag } = asked
      // The answer to the second comes after that of a reader who is refused. Alone, the platform would answer it by itself.
      this.send([{ _tag: "Request", id: requestId, tag, payload: payload.value, headers: [] }, { _tag: "Ping" }])
    }
    if (socket.readyState === open) begin()
    else socket.addEventListener("open", begin)
    return this.answered.promise
  }

  private received(text: string): void {
    const messages = Option.getOrUndefined(decodeMessages(text))
    if (messages === undefined) return
    for (const message of "_tag" in messages ? [messages] : messages) {
      if (message._tag === "Pong") this.accept()
      else if (message._tag === "Exit") this.exit(message.exit)
      else this.chunk(message.values)
    }
  }

  /** The caller may read: from now on there is a stream. */
  private accept(): ReadableStreamDefaultController<Uint8Array> | undefined {
    if (this.controller !== undefined) return this.controller
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller
        },
        pull: () => this.acknowledge(),
        cancel: () => this.end()
      },
      new ByteLengthQueuingStrategy({ highWaterMark: bufferedBytes })
    )
    this.write(this.first)
    this.answered.resolve(new Response(body, { headers: eventHeaders }))
    const beat = Effect.repeat(
      Effect.sync(() => this.write(":\n\n")),
      this.beats
    )
    this.host.waitUntil(
      this.host.run(
        Effect.raceFirst(
          Effect.asVoid(beat),
          Effect.promise(() => this.ended.promise)
        )
      )
    )
    return this.controller
  }

  private chunk(values: ReadonlyArray<Schema.Json>): void {
    const controller = this.accept()
    const texts = values.map((value) => {
      const cursor = Option.getOrUndefined(decodeCursor(value))?.cursor
      return `${cursor === undefined ? "" : `id: ${cursor}\n`}data: ${JSON.stringify(value)}\n\n`
    })
    this.waiting++
    this.write(texts.join(""))
    if ((controller?.desiredSize ?? 0) > 0) this.acknowledge()
  }

  private acknowledge(): void {
    for (; this.waiting > 0; this.waiting--) this.send({ _tag: "Ack", requestId })
  }

  /** The object has ended the stream: a reader that had none yet gets the status of a refusal. */
  private exit(exit: Schema.Json): void {
    const error = Option.getOrUndefined(decodeFailed(exit))?.cause[0]?.error ?? null
    if (this.controller === undefined) {
      this.answered.resolve(refusal(statusOf(error), error))
    } else if (error !== null) this.write(`event: failure\ndata: ${JSON.stringify(error)}\n\n`)
    this.end()
  }

  private lost(): void {
    this.answered.resolve(refusal(503, "the tenant's object ended the connection"))
    this.end()
  }

  private write(text: string): void {
    try {
      this.controller?.enqueue(encoder.encode(text))
    } catch {
      // The client is gone, and nobody waits for this.
      this.end()
    }
  }

  private send(message: object): void {
    try {
      this.socket.send(JSON.stringify(message))
    } catch {
      this.lost()
    }
  }

  private end(): void {
    const { controller } = this
    this.ended.resolve()
    try {
      controller?.close()
    } catch {
      // It has ended before.
    }
    try {
      this.socket.close(1000)
    } catch {
      // It is closed.
    }
  }
}

/** The state of a socket to which something can be sent. */
const open = 1

/** Bytes that wait for a client before its chunks count as not taken. */
const bufferedBytes = 64 * 1024

const eventHeaders = { "content-type": "text/event-stream", "cache-control": "no-cache, no-store" }

/** The status for the error with which a reader is refused. */
const statusOf = (error: Schema.Json): number => {
  const known = Option.getOrUndefined(decodeCallError(error))
  if (known instanceof CallError) return known.isRetryable ? 503 : 400
  return Option.isSome(decodeExpired(error)) ? 410 : 403
}

const decodeExpired = Schema.decodeUnknownOption(Schema.Struct({ _tag: Schema.Literal("ChangesExpired") }))

const refusal = (status: number, error: Schema.Json): Response => Response.json({ error }, { status })

const encoder = new TextEncoder()
