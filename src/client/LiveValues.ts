import type * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Frame, haveHeader, livePrefix, promptHeader } from "../protocol/Frame.ts"
import * as Patch from "../protocol/Patch.ts"
import type { LiveRpc } from "./LiveRpc.ts"

const decodeFrame = Schema.decodeUnknownOption(Frame(Schema.Json))

/** An optimistic change of a value, until the server's own value contains it. */
export interface Overlay {
  /** The mutation it belongs to. */
  readonly mutation: string
  readonly apply: (value: unknown) => unknown
}

/** What a live query shows. */
export interface Shown {
  /** The value with the optimistic changes applied; `None` before the first one came. */
  readonly value: Option.Option<unknown>
  /** The server's version of the value below the optimistic changes. */
  readonly version: number
  readonly isOptimistic: boolean
}

/** How a live query ended for good. */
export type Ended = { readonly _tag: "Failed"; readonly failure: Cause.Cause<unknown> }

export type Listener = (event: { readonly _tag: "Shown" } | Ended) => void

/** One live query of a client, however many watch it. */
export class LiveValue {
  readonly rpc: LiveRpc
  readonly payload: unknown
  readonly key: string
  readonly listeners = new Set<Listener>()
  /** The request under which the open connection sends its frames. */
  requestId: string | undefined
  /** The server's value, and what the server calls it. */
  json: Schema.Json | undefined
  hash: string | undefined
  version = 0
  /** The connection whose frame this value last came in. */
  session = 0
  overlays: ReadonlyArray<Overlay> = []
  shown: Shown = { value: Option.none(), version: 0, isOptimistic: false }
  /** How many frames in a row did not fit. */
  misfits = 0
  /** Pieces of a frame that is too large for one message. */
  parts: Array<string> = []
  private decoded: { readonly json: Schema.Json; readonly value: unknown } | undefined

  constructor(rpc: LiveRpc, payload: unknown, key: string) {
    this.rpc = rpc
    this.payload = payload
    this.key = key
  }

  /** The server's value, decoded once. */
  get base(): Option.Option<unknown> {
    if (this.json === undefined) return Option.none()
    if (this.decoded?.json !== this.json) this.decoded = { json: this.json, value: this.rpc.decode(this.json) }
    return Option.some(this.decoded.value)
  }

  /** Computes what is shown, and answers whether it differs from what was. */
  show(): boolean {
    const value = this.overlays.reduce(
      (value, overlay) => Option.map(value, (value) => overlay.apply(value)),
      this.base
    )
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

export interface Options {
  readonly onFirst: () => void
  readonly onLast: () => void
  /** Whether the server's value, as the frame that was just applied left it, contains what a mutation did. */
  readonly contains: (mutation: string, session: number) => boolean
  /** Nothing that comes fits: this connection cannot be trusted. */
  readonly onDistrust: () => void
}

/** How often in a row a value may be asked for anew before the connection is given up. */
const patience = 3

/**
 * The live queries of a client. Frames come in by message: all of one message are applied before anybody hears of one,
 * so that nobody sees two queries at two versions.
 */
export class LiveValues {
  private readonly values = new Map<string, LiveValue>()
  private readonly byRequest = new Map<string, LiveValue>()
  private readonly options: Options
  private send: ((text: string) => void) | undefined
  private nextRequest = 0
  /** Counts connections, so that an answer of an old one is never taken for one of this. */
  session = 0

  constructor(options: Options) {
    this.options = options
  }

  get size(): number {
    return this.values.size
  }

  all(): Iterable<LiveValue> {
    return this.values.values()
  }

  /** Watches a query until the function that is returned is called. */
  watch(rpc: LiveRpc, payload: unknown, listener: Listener): { readonly live: LiveValue; readonly end: () => void } {
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
    for (const live of this.values.values()) this.ask(live, live.misfits === 0 ? live.hash : undefined)
  }

  closed(): void {
    this.send = undefined
    this.byRequest.clear()
    for (const live of this.values.values()) {
      live.requestId = undefined
      live.parts = []
    }
  }

  /** The server refused this client: nothing will come any more. */
  failAll(failure: Cause.Cause<unknown>): void {
    for (const live of [...this.values.values()]) this.end(live, failure)
  }

  /** Whether a message with this request id belongs here. */
  owns(requestId: unknown): boolean {
    return typeof requestId === "string" && requestId.startsWith("live-")
  }

  /** Applies the messages of one delivery, then tells who watches. */
  receive(messages: ReadonlyArray<{ readonly _tag?: unknown; readonly requestId?: unknown } & object>): Set<LiveValue> {
    const changed = new Set<LiveValue>()
    for (const message of messages) {
      const live = this.byRequest.get(message.requestId as string)
      // A frame that was on its way when its request was given up.
      if (live === undefined) continue
      if (message._tag === "Chunk" && "values" in message && Array.isArray(message.values)) {
        this.send?.(`{"_tag":"Ack","requestId":${JSON.stringify(message.requestId)}}`)
        for (const value of message.values) {
          if (this.apply(live, value)) changed.add(live)
          else this.resync(live)
        }
      } else if (message._tag === "Exit" && "exit" in message) {
        this.end(live, live.rpc.decodeFailure(message.exit))
      }
    }
    return changed
  }

  /** Shows what changed. */
  publish(changed: Iterable<LiveValue>): void {
    const told = [...changed].filter((live) => live.show())
    for (const live of told) live.emit({ _tag: "Shown" })
  }

  /** Applies one frame; answers whether it fits what is here. */
  private apply(live: LiveValue, input: unknown): boolean {
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
      case "Snapshot":
        live.json = frame.value
        live.hash = frame.hash
        break
      case "Patch": {
        if (live.json === undefined || isFirst) return false
        const patched = Patch.apply(live.json, frame.ops)
        if (Result.isFailure(patched)) return false
        live.json = patched.success
        live.hash = frame.hash
        break
      }
    }
    live.version = frame.version
    live.session = this.session
    live.misfits = 0
    live.overlays = live.overlays.filter(({ mutation }) => !this.options.contains(mutation, this.session))
    return true
  }

  private ask(live: LiveValue, have: string | undefined): void {
    if (this.send === undefined) return
    const id = `live-${this.session}-${this.nextRequest++}`
    live.requestId = id
    this.byRequest.set(id, live)
    const headers: Array<[string, string]> = [[promptHeader, "1"]]
    if (have !== undefined && live.json !== undefined) headers.push([haveHeader, have])
    this.send(
      JSON.stringify({ _tag: "Request", id, tag: `${livePrefix}${live.rpc.tag}`, payload: live.payload, headers })
    )
  }

  /** What came does not fit: asks for the whole value. What is shown stays until it comes. */
  private resync(live: LiveValue): void {
    this.unask(live)
    live.session = 0
    if (++live.misfits > patience) this.options.onDistrust()
    else this.ask(live, undefined)
  }

  private unask(live: LiveValue): void {
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
    if (this.values.size === 0) this.options.onLast()
  }

  private forget(live: LiveValue): void {
    if (this.values.get(live.key) !== live) return
    this.unask(live)
    this.values.delete(live.key)
    if (this.values.size === 0) this.options.onLast()
  }
}

export const keyOf = (tag: string, payload: unknown): string => JSON.stringify([tag, payload ?? null])
