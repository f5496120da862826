import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { expect } from "vitest"
import { Fetch } from "../../src/client/Transport.ts"
import * as Checksum from "../../src/protocol/Checksum.ts"
import { ping, pong } from "../../src/protocol/Messages.ts"
import * as Patch from "../../src/protocol/Patch.ts"

/** A server that the test scripts. It need not keep to any protocol. */
export class FakeServer {
  /** Every socket that a client tried to open. */
  readonly sockets: Array<FakeSocket> = []
  /** Whether sockets open. A close code closes them during the handshake. */
  accepts: boolean | { readonly code: number; readonly reason?: string } = true
  /** Whether it answers pings. */
  answersPings = true
  /** Called with each message of a client, except pings. */
  onMessage: (socket: FakeSocket, message: any) => void = () => {}
  /** Answers a call over HTTP. */
  onFetch: (body: any) => Response | Promise<Response> = () => new Response(null, { status: 503 })
  /** The value that was last sent for each live query, by its tag and payload. */
  readonly values = new Map<string, any>()
  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  static readonly make = Effect.map(Clock.Clock, (clock) => new FakeServer(() => clock.currentTimeMillisUnsafe()))

  /** Runs an effect with sockets and `fetch` of this server. */
  provide<A, E, R>(effect: Effect.Effect<A, E, R>) {
    return effect.pipe(
      Effect.provideService(Socket.WebSocketConstructor, (url, options) => {
        const socket = new FakeSocket(this, url, options as never, this.now())
        this.sockets.push(socket)
        socket.begin()
        return socket
      }),
      Effect.provideService(Fetch, async (_url, init) => this.onFetch(JSON.parse(String(init.body))))
    )
  }

  /** The socket that was opened last. */
  get last(): FakeSocket {
    return this.sockets.at(-1)!
  }

  /** The milliseconds between each attempt to open a socket and the one before it. */
  get delays(): ReadonlyArray<number> {
    return this.sockets.slice(1).map(({ at }, index) => at - this.sockets[index]!.at)
  }

  /** Answers live queries with this value, or with `Current` when the client already has a value. */
  serve(value: unknown, version = 1): void {
    this.onMessage = (socket, message) => {
      if (message._tag !== "Request") return
      const hasValue = message.headers.some(([name]: [string]) => name === "dormouse-have")
      socket.chunk(
        message.id,
        hasValue ? { _tag: "Current", version } : { _tag: "Snapshot", value, version, hash: "h" }
      )
    }
  }
}

/** One socket, seen from the server. */
export class FakeSocket implements Socket.WebSocketLike {
  readyState = 0
  readonly url: string
  readonly protocols: ReadonlyArray<string> | undefined
  /** When the client opened it, in milliseconds. */
  readonly at: number
  /** The messages of the client, parsed. */
  readonly received: Array<any> = []
  /** The messages of the client, as text. */
  readonly texts: Array<string> = []
  private readonly server: FakeServer
  private readonly listeners: Array<readonly [type: string, listener: (event: Socket.WebSocketEvent) => void]> = []

  constructor(server: FakeServer, url: string, protocols: ReadonlyArray<string> | undefined, at: number) {
    this.server = server
    this.url = url
    this.protocols = protocols
    this.at = at
  }

  /** Starts the handshake. */
  begin(): void {
    const { accepts } = this.server
    if (accepts === false) this.readyState = 3
    else if (accepts === true) queueMicrotask(() => this.open())
    else queueMicrotask(() => this.end(accepts.code, accepts.reason))
  }

  private open(): void {
    if (this.readyState !== 0) return
    this.readyState = 1
    this.emit("open", {})
  }

  get isOpen(): boolean {
    return this.readyState === 1
  }

  addEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    this.listeners.push([type, listener])
  }

  removeEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    const index = this.listeners.findIndex((entry) => entry[0] === type && entry[1] === listener)
    if (index >= 0) this.listeners.splice(index, 1)
  }

  /** The client sends. */
  send(data: unknown): void {
    if (!this.isOpen) return
    this.texts.push(String(data))
    const message = JSON.parse(String(data))
    this.received.push(message)
    queueMicrotask(() => {
      if (data !== ping) this.server.onMessage(this, message)
      else if (this.server.answersPings) this.text(pong)
    })
  }

  /** The client closes. */
  close(code = 1000, reason = ""): void {
    this.end(code, reason)
  }

  /** The server sends messages as JSON: one alone, or several as one array. */
  deliver(...messages: ReadonlyArray<unknown>): void {
    if (this.isOpen) {
      this.emit("message", { data: JSON.stringify(messages.length === 1 ? messages[0] : messages) })
    }
  }

  /** The server sends a text. */
  text(data: string): void {
    if (this.isOpen) this.emit("message", { data })
  }

  /** The server sends a chunk of values. Frames without a checksum get the right one. */
  chunk(requestId: unknown, ...values: ReadonlyArray<unknown>): void {
    this.deliver({ _tag: "Chunk", requestId, values: values.map((value) => this.sealed(requestId, value)) })
  }

  /** A frame with its checksum, for a client that has what it was sent before. Anything else stays as it is. */
  sealed(requestId: unknown, frame: any): unknown {
    const request = this.received.find(({ _tag, id }) => _tag === "Request" && id === requestId)
    if (request === undefined || typeof frame?.version !== "number" || "sum" in frame) return frame
    const { values } = this.server
    const key = JSON.stringify([request.tag, request.payload])
    const applied =
      frame._tag === "Patch" && Result.try(() => Result.getOrThrow(Patch.apply(values.get(key), frame.ops)))
    if (frame._tag === "Snapshot") values.set(key, frame.value)
    else if (applied && Result.isSuccess(applied)) values.set(key, applied.success)
    if (!values.has(key)) return frame
    const hash = frame.hash ?? request.headers.find(([name]: [string]) => name === "dormouse-have")?.[1]
    const sum = Checksum.ofFrame(Checksum.ofJson(values.get(key) ?? null), frame.version, hash)
    return { ...frame, sum: Checksum.addRequest(sum, JSON.stringify(requestId)) }
  }

  /** The socket closes. 1006 is a loss without a close message. */
  end(code = 1006, reason = ""): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.emit("close", { code, reason })
  }

  /** The requests of the client with this tag. */
  requests(tag: string): ReadonlyArray<any> {
    return this.received.filter((message) => message._tag === "Request" && message.tag === tag)
  }

  private emit(type: string, event: object): void {
    for (const entry of [...this.listeners]) if (entry[0] === type) entry[1]({ type, ...event } as never)
  }
}

/** A service of which each random number between 0 and 1 is this one. */
export const fixedRandom = (random: number) =>
  Effect.provideService(Random.Random, { nextIntUnsafe: () => 1, nextDoubleUnsafe: () => random })

/** Each attempt comes after its delay, less a part of up to a quarter, and not a millisecond before. */
export const expectRetries = Effect.fnUntraced(function* (
  delays: ReadonlyArray<number>,
  random: number,
  attempts: () => number,
  settled: Effect.Effect<void>
) {
  for (const [attempt, delay] of delays.entries()) {
    const jittered = Math.round(delay * (0.75 + random / 4))
    yield* Effect.andThen(TestClock.adjust(jittered - 1), settled)
    expect(attempts()).toBe(attempt + 1)
    yield* Effect.andThen(TestClock.adjust(1), settled)
    expect(attempts()).toBe(attempt + 2)
  }
})

/** Waits until everything that needs no time has run. */
export const settle = Effect.promise(async () => {
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve))
})
