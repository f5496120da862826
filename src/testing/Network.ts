/**
 * A network that a test controls: sockets, their messages and calls over HTTP between clients and one object.
 * Messages can be held, delivered one by one in a chosen order, changed, or lost.
 */
import type { WebSocketEvent, WebSocketLike } from "effect/socket/Socket"
import type { Close } from "../engine/worker/Refusal.ts"
import type { MemorySocket } from "../layers/memory/SocketHost.ts"

/** What a client can send over a socket. The object sends only text. */
export type SocketData = Parameters<WebSocketLike["send"]>[0]

/** The direction of a socket message. */
export type Direction = "toServer" | "toClient"

/** A message on its channel. Packets of one channel arrive in the order of sending; channels are independent. */
interface Packet {
  readonly channel: object
  readonly arrive: () => void
  /** Called if the packet is lost. */
  readonly drop: () => void
}

/**
 * The network between clients and one object. Messages of one direction of one socket arrive in the order of sending;
 * everything else about their delivery is up to the test. Without its intervention each packet arrives soon.
 */
export class Network {
  /** Every text message that was sent over a socket, in the order of sending. */
  readonly log: Array<{ readonly direction: Direction; readonly data: string }> = []
  /** The open sockets. */
  readonly wires = new Set<Wire>()
  /** Replaces a text message by the messages that it returns; an empty array drops it. */
  intercept: ((direction: Direction, data: string) => ReadonlyArray<string>) | undefined
  private packets: Array<Packet> = []
  private held = false
  private refusing = false
  private pumping = false

  /** Opens a socket. It is open once its handshake has arrived; unless it was accepted, it is closed then. */
  open(server: ServerSocket, accept: () => Promise<"accepted" | Close | undefined>): Wire {
    const wire = new Wire(this, server)
    if (this.refusing) {
      queueMicrotask(() => wire.cut())
      return wire
    }
    this.wires.add(wire)
    const arrive = async () => {
      const accepted = await accept()
      if (accepted === undefined) return wire.cut()
      wire.opened()
      if (accepted === "accepted") return
      const { code, reason } = accepted
      const close = () => wire.close(code, reason)
      this.send({ channel: wire.toClient, arrive: close, drop: close })
    }
    this.send({ channel: wire.toServer, arrive: () => void arrive(), drop: () => {} })
    return wire
  }

  /** Makes a call over HTTP. The request or the response can be lost. */
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

  /** Sends bytes of a client over a socket. */
  bytes(wire: Wire, data: Exclude<SocketData, string>): void {
    this.send({ channel: wire.toServer, arrive: () => wire.server.receive(data), drop: () => {} })
  }

  /** Sends a text message over a socket, through `intercept`. */
  message(wire: Wire, direction: Direction, data: string): void {
    for (const sent of this.intercept === undefined ? [data] : this.intercept(direction, data)) {
      this.log.push({ direction, data: sent })
      const arrive = () => (direction === "toServer" ? wire.server.receive(sent) : wire.receive(sent))
      this.send({ channel: wire[direction], arrive, drop: () => {} })
    }
  }

  /** Sends a packet over its channel. */
  send(packet: Packet): void {
    this.packets.push(packet)
    this.pump()
  }

  /** Holds all packets until `release` or `step`. */
  hold(): void {
    this.held = true
  }

  /** Delivers the held packets, and those that follow. */
  release(): void {
    this.held = false
    this.pump()
  }

  /** Delivers held packets, the oldest first. */
  step(count = 1): void {
    for (let i = 0; i < count; i++) this.deliver(0)
  }

  /** Delivers one held packet: the first packet of a channel that the function chooses, by its index. */
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

  /** The number of packets that were sent and have not arrived. */
  get inFlight(): number {
    return this.packets.length
  }

  /** Cuts all connections: their packets are lost, and both ends are notified. */
  cut(): void {
    for (const wire of [...this.wires]) wire.cut()
    const lost = this.packets
    this.packets = []
    for (const { drop } of lost) drop()
  }

  /** Cuts all connections and refuses new ones until `online`. */
  offline(): void {
    this.refusing = true
    this.cut()
  }

  /** Accepts connections again. */
  online(): void {
    this.refusing = false
  }

  /** Whether new connections are refused. */
  get isOffline(): boolean {
    return this.refusing
  }

  /** Drops the packets of a channel, without notifying anyone. */
  discard(channel: object): void {
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

/** A socket with both of its ends. */
export class Wire {
  /** The object's end. */
  readonly server: ServerSocket
  /** The client's end. */
  readonly client: WebSocketLike
  /** The channel of the client's messages. */
  readonly toServer = {}
  /** The channel of the server's messages. */
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
      send: (data) => this.send("toServer", data),
      close: (code = 1000, reason = "") => this.close(code, reason)
    }
  }

  /** Marks the socket as open and notifies the client. */
  opened(): void {
    if (this.state !== 0) return
    this.state = 1
    this.emit("open", {})
  }

  /** Sends a message in a direction, if the sender's end is open. */
  send(direction: Direction, data: SocketData): void {
    const isOpen = direction === "toServer" ? this.state === 1 : this.state < 2
    if (!isOpen || this.isSilent) return
    if (typeof data === "string") this.network.message(this, direction, data)
    else this.network.bytes(this, data)
  }

  /** Delivers a message to the client. */
  receive(data: string): void {
    if (this.state === 1) this.emit("message", { data })
  }

  /** Closes the socket from either end: pending messages are lost, and both ends are notified. */
  close(code: number, reason: string): void {
    if (this.end(code, reason)) this.server.closed()
  }

  /** Cuts the connection: both ends are notified of an abnormal close. */
  cut(): void {
    this.close(1006, "")
  }

  /** Cuts the client's end. Its pending messages still arrive, and the server is notified after them. */
  cutClient(): void {
    if (!this.end(1006, "", false)) return
    const closed = () => this.server.closed()
    this.network.send({ channel: this.toServer, arrive: closed, drop: closed })
  }

  /** Drops all messages from now on, without notifying either end: a connection that died silently. */
  silence(): void {
    this.isSilent = true
    this.network.discard(this.toServer)
    this.network.discard(this.toClient)
  }

  private end(code: number, reason: string, dropsSent = true): boolean {
    if (this.state === 3) return false
    this.state = 3
    this.network.wires.delete(this)
    this.network.discard(this.toClient)
    if (dropsSent) this.network.discard(this.toServer)
    this.emit("close", { code, reason })
    return true
  }

  private emit(type: string, event: WebSocketEvent): void {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}

/** The object's end of a socket, with the attachment that survives the heap. */
export class ServerSocket implements MemorySocket {
  /** The socket, once it was opened. */
  wire: Wire | undefined
  attachment: unknown = null
  pingedAt: number | undefined
  /** Called with each message of the client. */
  readonly receive: (data: SocketData) => void
  /** Called when the socket has closed. */
  readonly closed: () => void

  constructor(receive: (data: SocketData) => void, closed: () => void) {
    this.receive = receive
    this.closed = closed
  }

  /** Sends a message to the client. */
  send(text: string): void {
    this.wire?.send("toClient", text)
  }

  /** Closes the socket. */
  close(code: number, reason: string): void {
    this.wire?.close(code, reason)
  }
}
