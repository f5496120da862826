import type * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Frame, knownHashHeader, livePrefix, promptHeader } from "../protocol/Frame.ts"
import * as Patch from "../protocol/Patch.ts"
import { contractMismatch, type RpcCodec } from "../protocol/RpcCodec.ts"
import { isList, isObject, type ServerMessage } from "./ServerMessage.ts"

// A frame's value is not checked here: JSON.parse made it, and the query's own schema decodes it.
const decode = Schema.decodeUnknownOption(Frame(Schema.Any))
const decodeFrame = (input: Schema.Json): ReturnType<typeof decode> => {
  try {
    return decode(input)
  } catch {
    // A patch can be nested more deeply than anything can follow.
    return Option.none()
  }
}

/** An optimistic change of a value, until the server's own value contains it. */
export interface Overlay {
  /** The mutation it belongs to. */
  readonly mutation: string
  readonly apply: (value: unknown) => unknown
}

/** What a live query shows. */
export interface ShownValue {
  /** The value with the optimistic changes applied; `None` before the first one came. */
  readonly value: Option.Option<unknown>
  /** The server's version of the value below the optimistic changes. */
  readonly version: number
  readonly isOptimistic: boolean
}

/** How a live query ended for good. */
export type LiveFailed = { readonly _tag: "Failed"; readonly failure: Cause.Cause<unknown> }

export type Listener = (event: { readonly _tag: "Shown" } | LiveFailed) => void

/** One live query of a client, however many watch it. */
export class LiveValue {
  readonly rpc: RpcCodec
  readonly payload: unknown
  readonly key: string
  readonly listeners = new Set<Listener>()
  /** The request under which the open connection sends its frames. */
  requestId: string | undefined
  /** The server's value, as it came and decoded, and what the server calls it. */
  json: Schema.Json | undefined
  base: Option.Option<unknown> = Option.none()
  hash: string | undefined
  version = 0
  /** The connection whose frame this value last came in. */
  session = 0
  overlays: ReadonlyArray<Overlay> = []
  shown: ShownValue = { value: Option.none(), version: 0, isOptimistic: false }
  /** How many frames in a row did not fit. */
  decodeFailures = 0
  /** Pieces of a frame that is too large for one message. */
  parts: Array<string> = []

  constructor(rpc: RpcCodec, payload: unknown, key: string) {
    this.rpc = rpc
    this.payload = payload
    this.key = key
  }

  /** Takes a value of the server; fails when it is none of this query, and then changes nothing. */
  accept(json: Schema.Json, hash: string): Result.Result<void, unknown> {
    return Result.map(Result.try({ try: () => this.rpc.decodeValue(json), catch: (cause) => cause }), (value) => {
      this.json = json
      this.hash = hash
      this.base = Option.some(value)
    })
  }

  /** Computes what is shown, and answers whether it differs from what was. */
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

  emit(event: Parameters<Listener>[0]): void {
    for (const listener of [...this.listeners]) listener(event)
  }
}

/** A change of the author's may not expect the value it meets; then the server's is shown as it is. */
const applyOverlay = (value: unknown, overlay: Overlay): unknown => {
  try {
    return overlay.apply(value)
  } catch {
    return value
  }
}

export interface LiveValuesOptions {
  readonly onFirst: () => void
  readonly onLast: () => void
  /** Whether everything that is shown is what the server has; called when that changes while a connection is open. */
  readonly onCurrent: (isCurrent: boolean) => void
  /** Whether the server's value, as a frame of this connection and version left it, contains what a mutation did. */
  readonly contains: (mutation: string, session: number, version: number) => boolean
  /** All frames up to this version have been applied: gives the values whose optimistic changes end with that. */
  readonly onDelivered: (version: number, session: number) => Iterable<LiveValue>
  /** Nothing that comes fits: this connection cannot be trusted. */
  readonly onProtocolError: () => void
}

/** How often in a row a value may be asked for anew before the connection is given up. */
const maxResyncs = 3

/**
 * The live queries of a client. Frames come in by message: all of one message are applied before anybody hears of one,
 * so that nobody sees two queries at two versions. For the same reason the frames of a new connection are held back until
 * every query whose last value is still shown has its answer.
 */
export class LiveValues {
  private readonly values = new Map<string, LiveValue>()
  private readonly byRequest = new Map<string, LiveValue>()
  private readonly options: LiveValuesOptions
  private send: ((text: string) => void) | undefined
  private nextRequest = 0
  /** Values that show what was before, and were asked for anew. */
  private readonly awaitingResync = new Set<LiveValue>()
  /** What came while there were such values, in the order in which it came. */
  private buffered: Array<ServerMessage> = []
  /** Counts connections, so that an answer of an old one is never taken for one of this. */
  session = 0

  constructor(options: LiveValuesOptions) {
    this.options = options
  }

  get size(): number {
    return this.values.size
  }

  /** Whether everything that is shown is what the server has. */
  get isCurrent(): boolean {
    return this.send !== undefined && this.awaitingResync.size === 0
  }

  all(): Iterable<LiveValue> {
    return this.values.values()
  }

  /** Watches a query until the function that is returned is called. */
  watch(rpc: RpcCodec, payload: unknown, listener: Listener): { readonly live: LiveValue; readonly end: () => void } {
    const key = keyOf(rpc.tag, payload)
    let live = this.values.get(key)
    if (live === undefined) {
      live = new LiveValue(rpc, payload, key)
      this.values.set(key, live)
      if (this.values.size === 1) this.options.onFirst()
      this.ask(live, undefined)
    }
    const watched = live
    watched.listeners.add(listener)
    return {
      live: watched,
      end: () => {
        watched.listeners.delete(listener)
        if (watched.listeners.size === 0) this.forget(watched)
      }
    }
  }

  find(tag: string, payload: unknown): LiveValue | undefined {
    return this.values.get(keyOf(tag, payload))
  }

  /** A connection has opened: every query is asked again, with the value it has. */
  opened(send: (text: string) => void): void {
    this.session++
    this.send = send
    for (const live of this.values.values()) this.ask(live, live.decodeFailures === 0 ? live.hash : undefined)
  }

  closed(): void {
    this.send = undefined
    this.byRequest.clear()
    this.awaitingResync.clear()
    this.buffered = []
    for (const live of this.values.values()) {
      live.requestId = undefined
      live.parts = []
    }
  }

  /** The server refused this client: nothing will come any more. */
  failAll(failure: Cause.Cause<unknown>): void {
    for (const live of [...this.values.values()]) this.end(live, failure)
  }

  /** Whether a message belongs here. */
  owns({ _tag, requestId }: ServerMessage): boolean {
    return _tag === "Delivered" || (typeof requestId === "string" && requestId.startsWith("live-"))
  }

  /** The live query that a message is for. */
  private liveOf({ requestId }: ServerMessage): LiveValue | undefined {
    return typeof requestId === "string" ? this.byRequest.get(requestId) : undefined
  }

  /** Takes the messages of one delivery, and gives the values that they changed. */
  receive(messages: ReadonlyArray<ServerMessage>): Set<LiveValue> {
    for (const message of messages) {
      if (message._tag === "Delivered") {
        this.buffered.push(message)
        continue
      }
      const live = this.liveOf(message)
      // A frame that was on its way when its request was given up.
      if (live === undefined) continue
      // That it came is acknowledged, whenever it is shown: the server waits for this before it sends the next.
      if (message._tag === "Chunk") this.send?.(`{"_tag":"Ack","requestId":${JSON.stringify(message["requestId"])}}`)
      this.buffered.push(message)
      if (completes(message)) this.awaitingResync.delete(live)
    }
    return this.applyBuffered()
  }

  /** Shows what changed. */
  publish(changed: Iterable<LiveValue>): void {
    const told = [...changed].filter((live) => live.show())
    for (const live of told) live.emit({ _tag: "Shown" })
  }

  /** Says so when everything that is shown is what the server has. */
  reportCurrent(): void {
    if (this.isCurrent) this.options.onCurrent(true)
  }

  /** Applies what was held back, unless there still is a value to wait for. */
  private applyBuffered(): Set<LiveValue> {
    const changed = new Set<LiveValue>()
    if (this.awaitingResync.size > 0) return changed
    const messages = this.buffered
    this.buffered = []
    for (const message of messages) {
      if (message._tag === "Delivered") {
        const { version } = message
        if (typeof version !== "number") this.options.onProtocolError()
        else for (const live of this.options.onDelivered(version, this.session)) changed.add(live)
        continue
      }
      const live = this.liveOf(message)
      if (live === undefined) continue
      const { exit, values } = message
      if (message._tag === "Exit") this.end(live, live.rpc.decodeFailure(exit))
      else if (message._tag !== "Chunk" || !isList(values)) this.resync(live)
      else {
        for (const value of values) {
          if (!this.apply(live, value)) {
            this.resync(live)
            break
          }
          changed.add(live)
        }
      }
    }
    return changed
  }

  /** A value is not waited for any more: what it held back is shown. */
  private release(live: LiveValue): void {
    if (!this.awaitingResync.delete(live) || this.awaitingResync.size > 0) return
    this.publish(this.applyBuffered())
    this.reportCurrent()
  }

  /** Applies one frame; answers whether it fits what is here. */
  private apply(live: LiveValue, input: Schema.Json): boolean {
    const decoded = decodeFrame(input)
    if (Option.isNone(decoded)) return false
    const frame = decoded.value
    if (frame._tag === "Part") {
      live.parts.push(frame.text)
      if (!frame.last) return true
      const text = live.parts.join("")
      live.parts = []
      try {
        return this.apply(live, JSON.parse(text))
      } catch {
        return false
      }
    }
    const isFirst = live.session !== this.session
    // Only the first frame of a connection may be of any version: then the server starts from what it has.
    if (!isFirst && frame.version < live.version) return false
    switch (frame._tag) {
      case "Current":
        if (live.json === undefined) return false
        break
      case "Snapshot": {
        const accepted = live.accept(frame.value, frame.hash)
        if (Result.isSuccess(accepted)) break
        // Another snapshot would not fit either: the server has another contract.
        this.drop(live)
        this.end(live, contractMismatch(`the value of ${live.rpc.tag}`, accepted.failure))
        return true
      }
      case "Patch": {
        if (live.json === undefined || isFirst) return false
        const patched = Patch.apply(live.json, frame.ops)
        if (Result.isFailure(patched) || Result.isFailure(live.accept(patched.success, frame.hash))) return false
        break
      }
    }
    live.version = frame.version
    live.session = this.session
    live.decodeFailures = 0
    live.overlays = live.overlays.filter(
      ({ mutation }) => !this.options.contains(mutation, this.session, frame.version)
    )
    return true
  }

  private ask(live: LiveValue, knownHash: string | undefined): void {
    if (this.send === undefined) return
    const id = `live-${this.session}-${this.nextRequest++}`
    live.requestId = id
    this.byRequest.set(id, live)
    if (live.json !== undefined) this.markStale(live)
    const headers: Array<[string, string]> = [[promptHeader, "1"]]
    if (knownHash !== undefined) headers.push([knownHashHeader, knownHash])
    this.send(
      JSON.stringify({ _tag: "Request", id, tag: `${livePrefix}${live.rpc.tag}`, payload: live.payload, headers })
    )
  }

  private markStale(live: LiveValue): void {
    this.awaitingResync.add(live)
    this.options.onCurrent(false)
  }

  /** What came does not fit: asks for the whole value. What is shown stays until it comes. */
  private resync(live: LiveValue): void {
    this.drop(live)
    live.session = 0
    if (++live.decodeFailures <= maxResyncs) return this.ask(live, undefined)
    if (live.json !== undefined) this.markStale(live)
    this.options.onProtocolError()
  }

  /** Ends the request under which frames come. */
  private drop(live: LiveValue): void {
    if (live.requestId === undefined) return
    this.byRequest.delete(live.requestId)
    this.send?.(JSON.stringify({ _tag: "Interrupt", requestId: live.requestId }))
    live.requestId = undefined
    live.parts = []
  }

  private end(live: LiveValue, failure: Cause.Cause<unknown>): void {
    if (live.requestId !== undefined) this.byRequest.delete(live.requestId)
    live.requestId = undefined
    this.values.delete(live.key)
    live.emit({ _tag: "Failed", failure })
    this.release(live)
    if (this.values.size === 0) this.options.onLast()
  }

  private forget(live: LiveValue): void {
    if (this.values.get(live.key) !== live) return
    this.drop(live)
    this.values.delete(live.key)
    this.release(live)
    if (this.values.size === 0) this.options.onLast()
  }
}

/** Whether a message completes an answer, rather than being a piece of a frame. */
const completes = ({ values }: ServerMessage): boolean => {
  const last = isList(values) ? values.at(-1) : undefined
  return !(isObject(last) && last["_tag"] === "Part" && last["last"] === false)
}

export const keyOf = (tag: string, payload: unknown): string => JSON.stringify([tag, payload ?? null])
