import type { WebSocketEvent, WebSocketLike } from "effect/socket/Socket"
import type { ServerSocket } from "./MemoryObject.ts"

export type Direction = "toServer" | "toClient"

/** Something on its channel. What is on one channel arrives in the order of sending, and channels know nothing of each other. */
interface Packet {
  readonly channel: object
  readonly arrive: () => void
  /** It will not arrive. */
  readonly drop: () => void
}

/**
 * The network between clients and one object, in the test's hands: sockets, their messages, and calls over HTTP. The
 * messages of one direction of one socket never overtake each other; beyond that the test decides when they arrive.
 */
export class Network {
  /** Every message that was sent over a socket, in the order of sending. */
  readonly log: Array<{ readonly direction: Direction; readonly data: string }> = []
  readonly wires = new Set<Wire>()
  /** Puts other messages in the place of one that a socket was given, or none. */
  intercept: ((direction: Direction, data: string) => ReadonlyArray<string>) | undefined
  private packets: Array<Packet> = []
  private held = false
  private refusing = false
  private pumping = false

  /** A new socket. It opens when its handshake has come through and is not refused. */
  open(server: ServerSocket, accept: () => Promise<boolean>): Wire {
    const wire = new Wire(this, server)
    if (this.refusing) {
      queueMicrotask(() => wire.cut())
      return wire
    }
    this.wires.add(wire)
    const arrive = async () => {
      if (await accept()) wire.opened()
      else wire.cut()
    }
    this.send({ channel: wire.toServer, arrive: () => void arrive(), drop: () => {} })
    return wire
  }

  /** A call over HTTP: two channels, and either can be lost. */
  exchange(answer: () => Promise<Response>): Promise<Response> {
    return new Promise((resolve, reject) => {
      const channel = {}
      const drop = () => reject(new TypeError("the connection was lost"))
      if (this.refusing) return drop()
      const arrive = () => {
        answer().then((response) => this.send({ channel, arrive: () => resolve(response), drop }), reject)
      }
      this.send({ channel, arrive, drop })
    })
  }

  message(wire: Wire, direction: Direction, data: string): void {
    for (const sent of this.intercept === undefined ? [data] : this.intercept(direction, data)) {
      this.log.push({ direction, data: sent })
      const arrive = () => (direction === "toServer" ? wire.server.receive(sent) : wire.receive(sent))
      this.send({ channel: wire[direction], arrive, drop: () => {} })
    }
  }

  /** Puts something on its channel. */
  send(packet: Packet): void {
    this.packets.push(packet)
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

  /** Lets a number of held packets through, those that were sent first. */
  step(count = 1): void {
    for (let i = 0; i < count; i++) this.deliver(0)
  }

  /** Lets one held packet through: the first of one of the channels, of which the function chooses one. */
  stepAny(choose: (channels: number) => number): void {
    const channels = new Set<object>()
    const heads: Array<number> = []
    this.packets.forEach(({ channel }, index) => {
      if (channels.has(channel)) return
      channels.add(channel)
      heads.push(index)
    })
    if (heads.length > 0) this.deliver(heads[choose(heads.length)]!)
  }

  get inFlight(): number {
    return this.packets.length
  }

  /** Cuts every connection: what was on its channel is lost, and both ends hear of it. */
  cut(): void {
    for (const wire of [...this.wires]) wire.cut()
    const lost = this.packets
    this.packets = []
    for (const { drop } of lost) drop()
  }

  /** While offline, connections are cut and none opens. */
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

  /** What was on this channel is lost. */
  forget(channel: object): void {
    this.packets = this.packets.filter((packet) => packet.channel !== channel)
  }

  private pump(): void {
    if (this.held || this.pumping) return
    this.pumping = true
    queueMicrotask(() => {
      this.pumping = false
      if (this.held) return
      this.deliver(0)
      if (this.packets.length > 0) this.pump()
    })
  }

  private deliver(index: number): void {
    const [packet] = this.packets.splice(index, 1)
    packet?.arrive()
  }
}

type Listener = (event: WebSocketEvent) => void

/** One socket from end to end. */
export class Wire {
  readonly server: ServerSocket
  readonly client: WebSocketLike
  readonly toServer = {}
  readonly toClient = {}
  private readonly network: Network
  private readonly listeners = new Map<string, Set<Listener>>()
  private state = 0
  private isSilent = false

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
      send: (data) => this.send("toServer", data as string),
      close: (code = 1000, reason = "") => this.close(code, reason)
    }
  }

  opened(): void {
    if (this.state !== 0) return
    this.state = 1
    this.emit("open", {})
  }

  /** Sends from the end that this direction leads away from. */
  send(direction: Direction, data: string): void {
    const isOpen = direction === "toServer" ? this.state === 1 : this.state < 2
    if (isOpen && !this.isSilent) this.network.message(this, direction, data)
  }

  receive(data: string): void {
    if (this.state === 1) this.emit("message", { data })
  }

  /** Either end closes the socket: the other hears of it, and what was on its channel is lost. */
  close(code: number, reason: string): void {
    if (this.end(code, reason)) this.server.gone()
  }

  /** The connection is lost: neither end said goodbye. */
  cut(): void {
    this.close(1006, "")
  }

  /** The client's end is lost. What it sent still arrives, and only then does the other end hear of it. */
  cutClient(): void {
    if (!this.end(1006, "", false)) return
    this.network.send({ channel: this.toServer, arrive: () => this.server.gone(), drop: () => this.server.gone() })
  }

  /** The connection dies in silence: nothing arrives any more, and nobody hears of it. */
  silence(): void {
    this.isSilent = true
    this.network.forget(this.toServer)
    this.network.forget(this.toClient)
  }

  private end(code: number, reason: string, dropping = true): boolean {
    if (this.state === 3) return false
    this.state = 3
    this.network.wires.delete(this)
    this.network.forget(this.toClient)
    if (dropping) this.network.forget(this.toServer)
    this.emit("close", { code, reason })
    return true
  }

  private emit(type: string, event: WebSocketEvent): void {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}
