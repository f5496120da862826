import type { WebSocketEvent, WebSocketLike } from "effect/socket/Socket"
import type { ServerSocket } from "./MemoryObject.ts"

/** A message on its way. */
interface Sending {
  readonly wire: Wire
  readonly direction: "toServer" | "toClient"
  readonly data: string
}

/**
 * The network between clients and one object, in the test's hands. Messages of one direction of one socket never
 * overtake each other; beyond that the test decides when they arrive.
 */
export class Network {
  /** Every message that was sent, in the order of sending. */
  readonly log: Array<{ readonly direction: Sending["direction"]; readonly data: string }> = []
  readonly wires = new Set<Wire>()
  private readonly queue: Array<Sending> = []
  private held = false
  private refusing = false
  private pumping = false

  open(server: ServerSocket, accept: () => Promise<void>): Wire {
    const wire = new Wire(this, server)
    if (this.refusing) {
      queueMicrotask(() => wire.cut())
      return wire
    }
    this.wires.add(wire)
    queueMicrotask(async () => {
      await accept()
      wire.opened()
    })
    return wire
  }

  send(sending: Sending): void {
    this.log.push({ direction: sending.direction, data: sending.data })
    this.queue.push(sending)
    this.pump()
  }

  /** Nothing arrives any more until `release` or `step`. */
  hold(): void {
    this.held = true
  }

  release(): void {
    this.held = false
    this.pump()
  }

  /** Lets a number of held messages through. */
  step(count = 1): void {
    for (let i = 0; i < count; i++) this.deliver()
  }

  get inFlight(): number {
    return this.queue.length
  }

  /** Cuts every socket: what was on its way is lost, and both ends hear of it. */
  cut(): void {
    for (const wire of [...this.wires]) wire.cut()
  }

  /** While offline, sockets are cut and none opens. */
  offline(): void {
    this.refusing = true
    this.cut()
  }

  online(): void {
    this.refusing = false
  }

  get isOffline(): boolean {
    return this.refusing
  }

  forget(wire: Wire): void {
    this.wires.delete(wire)
    for (let i = this.queue.length - 1; i >= 0; i--) if (this.queue[i]!.wire === wire) this.queue.splice(i, 1)
  }

  private pump(): void {
    if (this.held || this.pumping) return
    this.pumping = true
    queueMicrotask(() => {
      this.pumping = false
      if (this.held) return
      this.deliver()
      if (this.queue.length > 0) this.pump()
    })
  }

  private deliver(): void {
    const sending = this.queue.shift()
    if (sending === undefined) return
    if (sending.direction === "toServer") sending.wire.server.receive(sending.data)
    else sending.wire.receive(sending.data)
  }
}

type Listener = (event: WebSocketEvent) => void

/** One socket from end to end. */
export class Wire {
  readonly server: ServerSocket
  readonly client: WebSocketLike
  private readonly network: Network
  private readonly listeners = new Map<string, Set<Listener>>()
  private state = 0

  constructor(network: Network, server: ServerSocket) {
    this.network = network
    this.server = server
    const self = this
    this.client = {
      get readyState() {
        return self.state
      },
      addEventListener: (type, listener) => {
        let listeners = this.listeners.get(type)
        if (listeners === undefined) {
          listeners = new Set()
          this.listeners.set(type, listeners)
        }
        listeners.add(listener)
      },
      removeEventListener: (type, listener) => {
        this.listeners.get(type)?.delete(listener)
      },
      send: (data) => {
        if (this.state === 1) this.network.send({ wire: this, direction: "toServer", data: data as string })
      },
      close: (code = 1000, reason = "") => this.end(code, reason)
    }
  }

  opened(): void {
    if (this.state !== 0) return
    this.state = 1
    this.emit("open", {})
  }

  toClient(data: string): void {
    if (this.state < 2) this.network.send({ wire: this, direction: "toClient", data })
  }

  receive(data: string): void {
    if (this.state === 1) this.emit("message", { data })
  }

  close(code: number, reason: string): void {
    this.end(code, reason)
  }

  /** The connection is lost: neither end said goodbye. */
  cut(): void {
    this.end(1006, "")
  }

  private end(code: number, reason: string): void {
    if (this.state === 3) return
    this.state = 3
    this.network.forget(this)
    this.emit("close", { code, reason })
    this.server.gone()
  }

  private emit(type: string, event: WebSocketEvent): void {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}
