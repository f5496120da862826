import type { WebSocketEvent, WebSocketLike } from "effect/socket/Socket"
import type { ServerSocket } from "./MemoryObject.ts"

export type Direction = "toServer" | "toClient"

/** Something on its way. What is on one way arrives in the order of sending, and ways know nothing of each other. */
interface Parcel {
  readonly way: object
  readonly arrive: () => void
  /** It will not arrive. */
  readonly lose: () => void
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
  tamper: ((direction: Direction, data: string) => ReadonlyArray<string>) | undefined
  private parcels: Array<Parcel> = []
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
    this.send({ way: wire.toServer, arrive: () => void arrive(), lose: () => {} })
    return wire
  }

  /** A call over HTTP: two ways, and either can be lost. */
  exchange(answer: () => Promise<Response>): Promise<Response> {
    return new Promise((resolve, reject) => {
      const way = {}
      const lose = () => reject(new TypeError("the connection was lost"))
      if (this.refusing) return lose()
      const arrive = () => {
        answer().then((response) => this.send({ way, arrive: () => resolve(response), lose }), reject)
      }
      this.send({ way, arrive, lose })
    })
  }

  message(wire: Wire, direction: Direction, data: string): void {
    for (const sent of this.tamper === undefined ? [data] : this.tamper(direction, data)) {
      this.log.push({ direction, data: sent })
      const arrive = () => (direction === "toServer" ? wire.server.receive(sent) : wire.receive(sent))
      this.send({ way: wire[direction], arrive, lose: () => {} })
    }
  }

  /** Puts something on its way. */
  send(parcel: Parcel): void {
    this.parcels.push(parcel)
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

  /** Lets a number of held parcels through, those that were sent first. */
  step(count = 1): void {
    for (let i = 0; i < count; i++) this.deliver(0)
  }

  /** Lets one held parcel through: the first of one of the ways, of which the function chooses one. */
  stepAny(choose: (ways: number) => number): void {
    const ways = new Set<object>()
    const heads: Array<number> = []
    this.parcels.forEach(({ way }, index) => {
      if (ways.has(way)) return
      ways.add(way)
      heads.push(index)
    })
    if (heads.length > 0) this.deliver(heads[choose(heads.length)]!)
  }

  get inFlight(): number {
    return this.parcels.length
  }

  /** Cuts every connection: what was on its way is lost, and both ends hear of it. */
  cut(): void {
    for (const wire of [...this.wires]) wire.cut()
    const lost = this.parcels
    this.parcels = []
    for (const { lose } of lost) lose()
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

  /** What was on this way is lost. */
  forget(way: object): void {
    this.parcels = this.parcels.filter((parcel) => parcel.way !== way)
  }

  private pump(): void {
    if (this.held || this.pumping) return
    this.pumping = true
    queueMicrotask(() => {
      this.pumping = false
      if (this.held) return
      this.deliver(0)
      if (this.parcels.length > 0) this.pump()
    })
  }

  private deliver(index: number): void {
    const [parcel] = this.parcels.splice(index, 1)
    parcel?.arrive()
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

  /** Either end closes the socket: the other hears of it, and what was on its way is lost. */
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
    this.network.send({ way: this.toServer, arrive: () => this.server.gone(), lose: () => this.server.gone() })
  }

  /** The connection dies in silence: nothing arrives any more, and nobody hears of it. */
  silence(): void {
    this.isSilent = true
    this.network.forget(this.toServer)
    this.network.forget(this.toClient)
  }

  private end(code: number, reason: string, losing = true): boolean {
    if (this.state === 3) return false
    this.state = 3
    this.network.wires.delete(this)
    this.network.forget(this.toClient)
    if (losing) this.network.forget(this.toServer)
    this.emit("close", { code, reason })
    return true
  }

  private emit(type: string, event: WebSocketEvent): void {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}
