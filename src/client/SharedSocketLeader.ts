/**
 * The tab that has the socket of all tabs: it opens the socket when a member joins, relays whole messages, and closes it when
 * no member is left. It leads until its lock is taken from it, or it has no members.
 */
import type * as Socket from "effect/socket/Socket"
import {
  Announcement,
  type OpenChannel,
  openChannel,
  type SharingHost,
  ToLeader,
  type ToMember
} from "./SharedSocketMessages.ts"
import { SocketMultiplexer } from "./SocketMultiplexer.ts"

/** How a leader reaches its members and the server. */
export interface LeaderOptions {
  /** The name of the channel of all, and the begin of the names of the others. */
  readonly name: string
  readonly host: SharingHost
  /** Opens the socket to the server. */
  readonly connect: (url: string, protocols: Array<string>) => Socket.WebSocketLike
}

/** Milliseconds for which a tab leads without a member: clients that lost their socket come back within this time. */
const restDelay = 2000
/** Milliseconds. A member that does not acknowledge a frame has stopped; after 30 s the server would close the socket of all. */
const ackTimeout = 15_000

interface Member {
  /** Its number in the multiplexer. */
  readonly client: number
  readonly channel: OpenChannel<typeof ToMember.Type>
  /** Stops waiting for the end of its page. */
  readonly gone: AbortController
  /** Fires when it has not acknowledged a frame. */
  timer: ReturnType<typeof setTimeout> | undefined
}

/** A connection to the server. */
interface Session {
  readonly socket: Socket.WebSocketLike
  readonly clients: SocketMultiplexer
  isOpen: boolean
}

/** One term of leadership. */
export class Leader {
  /** Resolves when the leadership ends by itself. */
  readonly done: Promise<void>
  readonly #id = crypto.randomUUID()
  readonly #options: LeaderOptions
  readonly #members = new Map<string, Member>()
  readonly #all: OpenChannel<typeof Announcement.Type>
  #session: Session | undefined
  #resting: ReturnType<typeof setTimeout> | undefined
  #resolve: () => void = () => {}
  #isOver = false

  constructor(options: LeaderOptions) {
    this.#options = options
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#all = openChannel(options.host, options.name, Announcement, (message) => {
      if (message._tag === "Join") this.#join(message)
    })
    this.#all.post({ _tag: "Lead", leader: this.#id })
    this.#rest()
  }

  /** Ends the leadership: its lock was taken, because this tab did not answer. */
  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#resting !== undefined) clearTimeout(this.#resting)
    this.#all.close()
    this.#endSession(1006, "another tab has the socket")
    this.#resolve()
  }

  #join({ member: id, protocols, url }: Extract<typeof Announcement.Type, { _tag: "Join" }>): void {
    if (this.#members.has(id)) return
    if (this.#resting !== undefined) clearTimeout(this.#resting)
    const { host, name } = this.#options
    const channel: Member["channel"] = openChannel(host, `${name}/${id}`, ToLeader, (message) => {
      if (message.leader !== this.#id) return
      if (message._tag === "Leave") return this.#leave(id)
      if (member.timer !== undefined) clearTimeout(member.timer)
      member.timer = undefined
      if (session.isOpen) session.socket.send(session.clients.toServer(member.client, message.text))
    })
    const session = this.#session ?? this.#connect(url, protocols)
    const member: Member = { client: session.clients.join(), channel, gone: new AbortController(), timer: undefined }
    this.#members.set(id, member)
    // The member holds this lock until it is closed: also when its page was killed.
    const gone = host.locks.request(`${name}/${id}`, { signal: member.gone.signal }, async () => this.#leave(id))
    gone.catch(() => {})
    channel.post({ _tag: "Attached", leader: this.#id })
    if (session.isOpen) channel.post({ _tag: "Opened", leader: this.#id })
  }

  #connect(url: string, protocols: ReadonlyArray<string>): Session {
    const socket = this.#options.connect(url, [...protocols])
    const session: Session = { socket, clients: new SocketMultiplexer(), isOpen: false }
    this.#session = session
    socket.addEventListener("open", () => {
      if (this.#session !== session) return
      session.isOpen = true
      for (const { channel } of this.#members.values()) channel.post({ _tag: "Opened", leader: this.#id })
    })
    socket.addEventListener("message", ({ data }) => {
      if (this.#session === session) this.#deliver(session, String(data))
    })
    socket.addEventListener("close", ({ code = 1006, reason = "" }) => {
      if (this.#session === session) this.#endSession(code, reason)
    })
    return session
  }

  #deliver({ clients }: Session, text: string): void {
    const byClient = new Map([...this.#members].map(([id, member]) => [member.client, { id, member }] as const))
    for (const { client, isPrompt, text: own } of clients.toClients(text)) {
      const found = byClient.get(client)
      if (found === undefined) continue
      const { id, member } = found
      member.channel.post({ _tag: "Received", leader: this.#id, text: own })
      // A frozen page says nothing. Its client finds out when it goes on, and connects again.
      if (isPrompt) member.timer ??= setTimeout(() => this.#leave(id, "the page did not go on"), ackTimeout)
    }
  }

  /** A member is gone, or did not go on: its requests end. */
  #leave(id: string, reason?: string): void {
    const member = this.#members.get(id)
    if (member === undefined) return
    const session = this.#session
    if (reason !== undefined) member.channel.post({ _tag: "Closed", leader: this.#id, code: 1006, reason })
    this.#remove(id, member)
    if (session?.isOpen) for (const text of session.clients.leave(member.client)) session.socket.send(text)
    else session?.clients.leave(member.client)
    if (this.#members.size > 0) return
    this.#session = undefined
    session?.socket.close(1000)
    this.#rest()
  }

  /** The socket has closed: all members connect again, each when its client decides to. */
  #endSession(code: number, reason: string): void {
    const session = this.#session
    this.#session = undefined
    for (const [id, member] of [...this.#members]) {
      member.channel.post({ _tag: "Closed", leader: this.#id, code, reason })
      this.#remove(id, member)
    }
    session?.socket.close(1000)
    this.#rest()
  }

  #remove(id: string, { channel, gone, timer }: Member): void {
    this.#members.delete(id)
    if (timer !== undefined) clearTimeout(timer)
    gone.abort()
    channel.close()
  }

  #rest(): void {
    if (this.#isOver) return
    if (this.#resting !== undefined) clearTimeout(this.#resting)
    this.#resting = setTimeout(() => {
      if (this.#members.size === 0) this.stop()
    }, restDelay)
  }
}
