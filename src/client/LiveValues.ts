/**
 * The live queries of a client: requests their frames, applies them, and notifies listeners.
 * Independent of sockets and mutations; the client connects it with them through `LiveValuesOptions`.
 */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Checksum from "../protocol/Checksum.ts"
import { Frame, knownHashHeader, livePrefix, promptHeader } from "../protocol/Frame.ts"
import { canonical } from "../protocol/JsonCodec.ts"
import * as Patch from "../protocol/Patch.ts"
import { contractMismatch, type RpcCodec } from "../protocol/RpcCodec.ts"
import { attempt, isList, isObject, parse, requestIdOf, type ServerMessage } from "./ServerMessage.ts"
import { requestTooLarge } from "./SocketRpcProtocol.ts"

// The value of a frame is not checked here: it comes from `JSON.parse`, and the query's own schema decodes it.
const decode = Schema.decodeUnknownSync(Frame(Schema.Any))
type AnyFrame = ReturnType<typeof decode>

/** An optimistic change of a value. Applied over the server's value until that contains the mutation. */
export interface Overlay {
  /** The id of the mutation. */
  readonly mutation: string
  /** The change. May throw; it is then left out. */
  readonly apply: (value: unknown) => unknown
}

/** The value of a live query as its listeners see it. */
export interface ShownValue {
  /** The server's value with the optimistic changes applied; `None` before the first frame. */
  readonly value: Option.Option<unknown>
  /** The version of the server's value, without the optimistic changes. */
  readonly version: number
  /** Whether optimistic changes are applied. */
  readonly isOptimistic: boolean
}

/** The live query has failed. No event follows. */
export type LiveFailed = { readonly _tag: "Failed"; readonly failure: Cause.Cause<unknown> }

/** Called when the shown value changes, and once when the query fails. */
export type Listener = (event: { readonly _tag: "Shown" } | LiveFailed) => void

/** One live query of a client. All listeners of the same tag and payload share it. */
export class LiveValue {
  readonly rpc: RpcCodec
  /** The encoded payload. */
  readonly payload: unknown
  readonly key: string
  readonly listeners = new Set<Listener>()
  /** The id of the request on the current connection; its frames carry it. */
  requestId: string | undefined
  /** The server's value as JSON, which patches apply to. */
  json: Schema.Json | undefined
  /** The same value, decoded. */
  base: Option.Option<unknown> = Option.none()
  /** The server's hash of the value. */
  hash: string | undefined
  /** The checksum of the last frame. */
  sum = 0
  version = 0
  /** The number of the connection that sent the last frame. */
  session = 0
  overlays: ReadonlyArray<Overlay> = []
  shown: ShownValue = { value: Option.none(), version: 0, isOptimistic: false }
  /** Frames in a row that could not be applied. */
  decodeFailures = 0
  /** The text of the last request. */
  request = ""
  /** The parts received so far of a frame that is larger than one message. */
  parts: Array<string> = []

  constructor(rpc: RpcCodec, payload: unknown, key: string) {
    this.rpc = rpc
    this.payload = payload
    this.key = key
  }

  /** Recomputes the shown value. Returns whether it changed. */
  show(): boolean {
    const value = Option.map(this.base, (base) => this.overlays.reduce(applyOverlay, base))
    const before = this.shown
    this.shown = { value, version: this.version, isOptimistic: this.overlays.length > 0 }
    return (
      Option.getOrUndefined(before.value) !== Option.getOrUndefined(value) ||
      Option.isSome(before.value) !== Option.isSome(value) ||
      before.version !== this.shown.version ||
      before.isOptimistic !== this.shown.isOptimistic
    )
  }

  /** Calls all listeners. */
  emit(event: Parameters<Listener>[0]): void {
    // A copy: a listener may add or remove listeners.
    for (const listener of [...this.listeners]) listener(event)
  }
}

/** An optimistic change that throws on this value is left out. */
const applyOverlay = (value: unknown, overlay: Overlay): unknown => {
  try {
    return overlay.apply(value)
  } catch {
    return value
  }
}

/** The callbacks of the live queries. */
export interface LiveValuesOptions {
  /** The first live query was started. */
  readonly onFirst: () => void
  /** The last live query has ended. */
  readonly onLast: () => void
  /** A live query was started. It may have been live before. */
  readonly onStarted: (live: LiveValue) => void
  /** Whether every shown value is the server's current one. Called while a connection is open; may repeat itself. */
  readonly onCurrent: (isCurrent: boolean) => void
  /** Whether the server's value, at this version and on this connection, contains the effect of a mutation. */
  readonly contains: (mutation: string, session: number, version: number) => boolean
  /** All frames up to this version were applied. Returns the values whose optimistic changes end with that. */
  readonly onDelivered: (version: number, session: number) => Iterable<LiveValue>
  /** The server sent an invalid message, or too many frames in a row that cannot be applied: reset the connection. */
  readonly onProtocolError: () => void
}

/** A value may be requested again this many times in a row. Then the connection is reset, which backs off. */
const maxResyncs = 3

/**
 * The live queries of a client. All messages that arrive together are applied before any listener is called, so that no
 * listener sees two queries at two versions. After a reconnect, and while a value is requested again, frames are
 * buffered until every query that already shows a value has its answer: they are then applied and shown together.
 */
export class LiveValues {
  readonly #values = new Map<string, LiveValue>()
  readonly #byRequest = new Map<string | undefined, LiveValue>()
  readonly #options: LiveValuesOptions
  #send: ((text: string) => void) | undefined
  #nextRequest = 0
  /** Live queries whose answer on this connection has not arrived completely, but for those that were started on it. */
  readonly #awaitingResync = new Set<LiveValue>()
  /** The messages that arrived while such queries show an old value, in order. */
  #buffered: Array<ServerMessage> = []
  /** The checksums of what was received on this connection. What did not change is not read again. */
  #sums = new WeakMap<object, number>()
  /** Numbers the connections. Part of the request ids, so that a frame of an old connection matches no request. */
  session = 0

  constructor(options: LiveValuesOptions) {
    this.#options = options
  }

  /** How many queries are live. */
  get size(): number {
    return this.#values.size
  }

  /** Whether every shown value is the server's current one. */
  get isCurrent(): boolean {
    return this.#send !== undefined && this.#awaitingResync.size === 0
  }

  /** All live queries. */
  all(): Iterable<LiveValue> {
    return this.#values.values()
  }

  /**
   * Adds a listener to a live query, which is started for the first one and stopped after the last one's `end`. It begins
   * with `initial`: its first request then says which value is here.
   */
  watch(
    rpc: RpcCodec,
    payload: unknown,
    listener: Listener,
    initial?: Partial<LiveValue>
  ): { readonly live: LiveValue; readonly end: () => void } {
    const key = keyOf(rpc.tag, payload)
    let live = this.#values.get(key)
    if (live === undefined) {
      live = Object.assign(new LiveValue(rpc, payload, key), initial)
      this.#values.set(key, live)
      this.#options.onStarted(live)
      if (this.#values.size === 1) this.#options.onFirst()
      this.#ask(live, live.hash)
    }
    const watched = live
    watched.listeners.add(listener)
    return {
      live: watched,
      end: () => {
        watched.listeners.delete(listener)
        if (watched.listeners.size > 0 || this.#values.get(key) !== watched) return
        this.#drop(watched)
        this.#end(watched)
      }
    }
  }

  /** The live query of this tag and encoded payload, if there is one. */
  find(tag: string, payload: unknown): LiveValue | undefined {
    return this.#values.get(keyOf(tag, payload))
  }

  /** A connection has opened: requests every query again, with the hash of the value it has. */
  opened(send: (text: string) => void): void {
    this.session++
    // The first frames of a connection compare everything that is here, also if something has changed it.
    this.#sums = new WeakMap()
    this.#send = send
    for (const live of this.#values.values()) {
      this.#ask(live, live.decodeFailures === 0 ? live.hash : undefined)
      this.#markStale(live)
    }
    this.reportCurrent()
  }

  /** The connection has closed. Values stay as they are. */
  closed(): void {
    this.#send = undefined
    this.#byRequest.clear()
    this.#awaitingResync.clear()
    this.#buffered = []
    for (const live of this.#values.values()) {
      live.requestId = undefined
      live.parts = []
    }
  }

  /** The server refused this client: every live query fails. */
  failAll(failure: Cause.Cause<unknown>): void {
    for (const live of [...this.#values.values()]) this.#end(live, failure)
  }

  /** The server accepts at most `max` bytes per message: the live queries fail whose requests are larger. */
  limit(max: number): void {
    for (const live of [...this.#values.values()]) {
      const error = requestTooLarge(live.request, max)
      if (error !== undefined) this.#end(live, Cause.fail(error))
    }
  }

  /** Whether a message is for a live query. */
  owns(message: ServerMessage): boolean {
    return message._tag === "Delivered" || requestIdOf(message).startsWith("live-")
  }

  /** Takes messages that arrived together. Returns the live queries that they changed. */
  receive(messages: ReadonlyArray<ServerMessage>): Set<LiveValue> {
    for (const message of messages) {
      if (message._tag === "Delivered") {
        this.#buffered.push(message)
        continue
      }
      const live = this.#byRequest.get(requestIdOf(message))
      // A message for a request that was given up meanwhile.
      if (live === undefined) continue
      // Acknowledge on arrival, not when it is shown: the server sends no further frame before that.
      const { version, ...last } = lastOf(message)
      if (message._tag === "Chunk") this.#send?.(JSON.stringify({ _tag: "Ack", requestId: live.requestId, version }))
      this.#buffered.push(message)
      // A part of a frame that is not the last one does not complete the answer.
      if (last["_tag"] !== "Part" || last["last"] !== false) this.#awaitingResync.delete(live)
    }
    return this.#applyBuffered()
  }

  /** Recomputes all shown values first, then notifies the listeners of those that changed. */
  publish(values: Iterable<LiveValue>): void {
    const changed = [...values].filter((live) => live.show())
    for (const live of changed) live.emit({ _tag: "Shown" })
  }

  /** Reports it when every shown value is the server's current one. */
  reportCurrent(): void {
    if (this.isCurrent) this.#options.onCurrent(true)
  }

  /**
   * Applies the buffered messages, unless a query is still awaiting its answer. Returns the live queries they changed.
   */
  #applyBuffered(): Set<LiveValue> {
    const changed = new Set<LiveValue>()
    for (const { json } of this.#awaitingResync) if (json !== undefined) return changed
    const messages = this.#buffered
    this.#buffered = []
    for (const message of messages) {
      if (message._tag === "Delivered") {
        const { version } = message
        if (typeof version !== "number") this.#options.onProtocolError()
        else for (const live of this.#options.onDelivered(version, this.session)) changed.add(live)
        continue
      }
      const live = this.#byRequest.get(requestIdOf(message))
      if (live === undefined) continue
      const { exit, values } = message
      if (message._tag === "Exit") this.#end(live, live.rpc.decodeFailure(exit))
      else if (message._tag !== "Chunk" || !isList(values)) this.#resync(live)
      else {
        for (const value of values) {
          if (!this.#apply(live, value)) {
            this.#resync(live)
            break
          }
          changed.add(live)
        }
      }
    }
    return changed
  }

  /** Stops waiting for a query. If it was the last one, the buffered messages are applied and shown. */
  #release(live: LiveValue): void {
    if (!this.#awaitingResync.delete(live)) return
    this.publish(this.#applyBuffered())
    this.reportCurrent()
  }

  /** Applies one frame. Returns whether it could be applied. */
  #apply(live: LiveValue, input: Schema.Json): boolean {
    const frame = attempt(() => decode(input))
    if (frame === undefined) return false
    if (frame._tag === "Part") {
      live.parts.push(frame.text)
      if (!frame.last) return true
      const whole = parse(live.parts.join(""))
      live.parts = []
      return whole !== undefined && this.#apply(live, whole)
    }
    const isFirst = live.session !== this.session
    // Versions grow with each frame of a connection: this one has arrived before, or is wrong. The first frame may have any
    // version.
    if (!isFirst && frame.version <= live.version) return frame.sum === live.sum
    const next = attempt(() => this.#after(live, frame, isFirst))
    if (next === undefined) return false
    if (next.json !== live.json) {
      try {
        live.base = Option.some(live.rpc.decodeValue(next.json))
      } catch (cause) {
        if (frame._tag === "Patch") return false
        // Client and server have different contracts; requesting the value again would not help.
        this.#drop(live)
        this.#end(live, contractMismatch(cause))
        return true
      }
    }
    live.json = next.json
    live.hash = next.hash
    live.sum = frame.sum
    live.version = frame.version
    live.session = this.session
    live.decodeFailures = 0
    live.overlays = live.overlays.filter(
      ({ mutation }) => !this.#options.contains(mutation, this.session, frame.version)
    )
    return true
  }

  /**
   * The value after a frame, and its hash. `undefined` when it is not what the server has: the checksum of a frame is that
   * of what its client has after it. Throws for a patch that does not apply, and for a value that is nested too deeply.
   */
  #after(live: LiveValue, frame: Exclude<AnyFrame, { _tag: "Part" }>, isFirst: boolean) {
    // A patch applies only to a value that was sent on the same connection.
    if (frame._tag === "Patch" && isFirst) return undefined
    const { hash } = frame._tag === "Current" ? live : frame
    const json: Schema.Json =
      frame._tag === "Snapshot"
        ? frame.value
        : frame._tag === "Patch"
          ? Result.getOrThrow(Patch.apply(live.json!, frame.ops))
          : live.json!
    const sum = Checksum.ofFrame(Checksum.ofJson(json, this.#sums), frame.version, hash!)
    return Checksum.addRequest(sum, JSON.stringify(live.requestId)) === frame.sum ? { json, hash } : undefined
  }

  /**
   * Requests a live query on the open connection. With `knownHash` the server can answer that the value is unchanged.
   */
  #ask(live: LiveValue, knownHash: string | undefined): void {
    if (this.#send === undefined) return
    const id = `live-${this.session}-${this.#nextRequest++}`
    live.requestId = id
    this.#byRequest.set(id, live)
    if (live.json !== undefined) this.#markStale(live)
    const headers: Array<[string, string]> = [[promptHeader, "1"]]
    if (knownHash !== undefined) headers.push([knownHashHeader, knownHash])
    live.request = JSON.stringify({
      _tag: "Request",
      id,
      tag: `${livePrefix}${live.rpc.tag}`,
      payload: live.payload,
      headers
    })
    this.#send(live.request)
  }

  #markStale(live: LiveValue): void {
    this.#awaitingResync.add(live)
    this.#options.onCurrent(false)
  }

  /** A frame could not be applied: requests the whole value. The old one is shown until it arrives. */
  #resync(live: LiveValue): void {
    this.#drop(live)
    // The next frame counts as the first of its connection, which may have any version.
    live.session = 0
    if (++live.decodeFailures <= maxResyncs) return this.#ask(live, undefined)
    if (live.json !== undefined) this.#markStale(live)
    this.#options.onProtocolError()
  }

  /** Gives up the current request of a live query. */
  #drop(live: LiveValue): void {
    if (live.requestId === undefined) return
    this.#byRequest.delete(live.requestId)
    this.#send?.(JSON.stringify({ _tag: "Interrupt", requestId: live.requestId }))
    live.requestId = undefined
    live.parts = []
  }

  /** Ends a live query: it has failed, or has no listeners any more. */
  #end(live: LiveValue, failure?: Cause.Cause<unknown>): void {
    this.#byRequest.delete(live.requestId)
    this.#values.delete(live.key)
    if (failure !== undefined) live.emit({ _tag: "Failed", failure })
    this.#release(live)
    if (this.#values.size === 0) this.#options.onLast()
  }
}

/** The last frame of a message. */
const lastOf = ({ values }: ServerMessage): Schema.JsonObject => {
  const last = isList(values) ? values.at(-1) : undefined
  return isObject(last) ? last : {}
}

/** The key of a live query: the same for the same tag and an equal encoded payload. */
export const keyOf = (tag: string, payload: unknown): string => JSON.stringify([tag, canonical(payload ?? null)])
