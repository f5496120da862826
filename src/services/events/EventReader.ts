/**
 * One stream of Server-Sent Events: the Worker reads from the tenant's object over a socket, so that the object hibernates while
 * there is nothing to send, and acknowledges what its client has taken, so that a slow client is a slow reader.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { EventHost, EventSocket } from "../../contract/Pubsub.ts"

/** How streams of events are kept alive. */
export interface EventTimes {
  /** After which time a client connects again whose connection was lost. 3 seconds unless given. */
  readonly retry?: Duration.Input
  /** How often a comment is sent, by which proxies see that the connection lives. 20 seconds unless given. */
  readonly heartbeat?: Duration.Input
}

/** What is read, and how it becomes events. */
export interface EventSource {
  /** What the object is sent first. A `Ping` among it begins the stream with its answer, before there is a first value. */
  readonly begin: ReadonlyArray<object>
  /** The text of the events for values that have arrived; `undefined` ends the stream, and its client connects again. */
  readonly textOf: (values: ReadonlyArray<Schema.Json>) => string | undefined
  /** The response when the object ends the stream before it has begun. `exit` is the JSON of the exit. */
  readonly refuse: (exit: Schema.Json) => Response
}

/** Reads from the object, and answers with the events. */
export type ReadEvents = (
  socket: EventSocket,
  host: EventHost,
  signal: AbortSignal,
  source: EventSource
) => Promise<Response>

/** Reads with these times. */
export const reader = ({ heartbeat = "20 seconds", retry = "3 seconds" }: EventTimes): ReadEvents => {
  const first = `retry: ${Duration.toMillis(Duration.fromInputUnsafe(retry))}\n\n`
  const beats = Schedule.spaced(heartbeat)
  return (socket, host, signal, source) => new EventReader(socket, host, signal, source, first, beats).start()
}

/** The id of the one request on the socket. */
export const requestId = "events"

const Message = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Chunk"), values: Schema.Array(Schema.Json) }),
  Schema.Struct({ _tag: Schema.Literal("Exit"), exit: Schema.Json }),
  Schema.Struct({ _tag: Schema.Literal("SignedOut"), problem: Schema.String }),
  Schema.Struct({ _tag: Schema.Literal("Pong") })
])
const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))
const decodeMessage = Schema.decodeUnknownOption(Message)

const Failed = Schema.Struct({
  _tag: Schema.Literal("Failure"),
  cause: Schema.Array(
    Schema.Struct({ error: Schema.optionalKey(Schema.Json), defect: Schema.optionalKey(Schema.Json) })
  )
})
const decodeFailed = Schema.decodeUnknownOption(Failed)

/** What an exit has failed with, declared or not; `undefined` for a success. */
export const failureIn = (exit: Schema.Json): Schema.Json | undefined => {
  const [reason] = Option.getOrUndefined(decodeFailed(exit))?.cause ?? []
  return reason?.error ?? reason?.defect
}

/** One connection of a client. */
class EventReader {
  private readonly socket: EventSocket
  private readonly host: EventHost
  private readonly signal: AbortSignal
  private readonly source: EventSource
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
    source: EventSource,
    first: string,
    beats: Schedule.Schedule<unknown>
  ) {
    this.socket = socket
    this.host = host
    this.signal = signal
    this.source = source
    this.first = first
    this.beats = beats
  }

  start(): Promise<Response> {
    const { socket } = this
    socket.addEventListener("message", ({ data }) => this.received(String(data)))
    socket.addEventListener("close", ({ code, reason }) => this.lost(Number(code), String(reason)))
    socket.addEventListener("error", () => this.lost())
    this.signal.addEventListener("abort", () => this.end(), { once: true })
    const begin = () => this.send(this.source.begin)
    if (socket.readyState === open) begin()
    else socket.addEventListener("open", begin)
    return this.answered.promise
  }

  private received(text: string): void {
    const parsed = Option.getOrUndefined(decodeText(text))
    const messages: ReadonlyArray<unknown> = Array.isArray(parsed) ? parsed : [parsed]
    for (const item of messages) {
      // What else there is, is not for a reader.
      const message = Option.getOrUndefined(decodeMessage(item))
      if (message?._tag === "Pong") this.accept()
      else if (message?._tag === "Exit") this.exit(message.exit)
      else if (message?._tag === "Chunk") this.chunk(message.values)
      else if (message?._tag === "SignedOut") this.write(eventOf("signedOut", message.problem))
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
    const text = this.source.textOf(values)
    if (text === undefined) return this.end()
    this.waiting++
    if (text !== "") this.write(text)
    if ((controller?.desiredSize ?? 0) > 0) this.acknowledge()
  }

  private acknowledge(): void {
    for (; this.waiting > 0; this.waiting--) this.send({ _tag: "Ack", requestId })
  }

  /** The object has ended the stream: a reader that had none yet gets the status of a refusal. */
  private exit(exit: Schema.Json): void {
    const failure = failureIn(exit)
    if (this.controller === undefined) this.answered.resolve(this.source.refuse(exit))
    else if (failure !== undefined) this.write(eventOf("failure", failure))
    this.end()
  }

  private lost(code = 1006, reason = ""): void {
    this.answered.resolve(refusal(503, "the tenant's object ended the connection"))
    // The caller may not go on: its token has ended, or the tenant has.
    if (code >= 4400 && code < 4500) this.write(eventOf("closed", reason))
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

/** The text of an event with a name. */
const eventOf = (name: string, data: Schema.Json): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** A response that refuses a reader. */
export const refusal = (status: number, error: Schema.Json): Response => Response.json({ error }, { status })

const encoder = new TextEncoder()
