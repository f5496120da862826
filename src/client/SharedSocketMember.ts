/**
 * A socket whose messages go through the tab that leads, as a client sees it: a `WebSocket`. It is also a candidate: when no
 * tab leads, the first one that asked for the lock does.
 */
import type * as Socket from "effect/socket/Socket"
import { authenticateTag } from "../protocol/Authenticate.ts"
import { isObject, parse } from "./ServerMessage.ts"
import { Leader, type LeaderOptions } from "./SharedSocketLeader.ts"
import { Announcement, type OpenChannel, openChannel, type ToLeader, ToMember } from "./SharedSocketMessages.ts"
import { bearerPrefix } from "./Transport.ts"

/** Which socket, and with whom it is shared. */
export interface MemberOptions extends Omit<LeaderOptions, "name"> {
  /** The name that all sockets of this caller have, and no others. */
  readonly name: Promise<string>
  readonly url: string
  readonly protocols: ReadonlyArray<string>
  /** Whether the socket may get another token: all who share it then are the same caller. */
  readonly sharesTokens: boolean
}

/** Milliseconds within which the tab that leads answers. If it does not it has stopped, and this one takes its place. */
const takeoverDelay = 3000

type Type = "open" | "message" | "error" | "close"
type Listener = (event: Socket.WebSocketEvent) => void

/** A socket that is shared with other tabs. */
export class SharedSocketMember implements Socket.WebSocketLike {
  readyState = 0
  readonly #id = crypto.randomUUID()
  readonly #options: MemberOptions
  readonly #listeners = new Map<Type, Map<Listener, { readonly once?: boolean } | undefined>>()
  readonly #end = new AbortController()
  #all: OpenChannel<typeof Announcement.Type> | undefined
  #own: OpenChannel<typeof ToLeader.Type> | undefined
  /** The tab that relays for this socket. */
  #leader: string | undefined
  /** Its own socket, where it cannot be shared. */
  #alone: Socket.WebSocketLike | undefined
  #takeover: ReturnType<typeof setTimeout> | undefined

  constructor(options: MemberOptions) {
    this.#options = options
    // Locks are refused to some pages, such as those in a sandbox.
    options.name.then((name) => this.#start(name)).catch(() => this.#connectAlone())
  }

  addEventListener(type: Type, listener: Listener, options?: { readonly once?: boolean }): void {
    const listeners = this.#listeners.get(type) ?? new Map()
    this.#listeners.set(type, listeners.set(listener, options))
  }

  removeEventListener(type: Type, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener)
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== 1) return
    if (this.#alone !== undefined) return this.#alone.send(data)
    const text = typeof data === "string" ? data : new TextDecoder().decode(data)
    // The other tabs have the token of this socket. The next connection has the new one.
    if (!this.#options.sharesTokens && this.#isOtherToken(text)) this.close(1000, "this tab has another token")
    else this.#own?.post({ _tag: "Send", leader: this.#leader!, text })
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState === 3) return
    this.#alone?.close(code)
    if (this.#leader !== undefined) this.#own?.post({ _tag: "Leave", leader: this.#leader })
    this.#closed(code, reason)
  }

  async #start(name: string): Promise<void> {
    if (this.readyState === 3) return
    const { host } = this.#options
    this.#own = openChannel(host, `${name}/${this.#id}`, ToMember, (message) => this.#receive(message))
    this.#all = openChannel(host, name, Announcement, (message) => {
      if (message._tag !== "Lead") return
      if (this.#leader === undefined) this.#join(name)
      else if (this.#leader !== message.leader) this.#closed(1006, "another tab has the socket")
    })
    await this.#hold(`${name}/${this.#id}`)
    if (this.#end.signal.aborted) return
    this.#compete(name, { signal: this.#end.signal })
    this.#join(name)
  }

  /** Opens a socket of its own. */
  #connectAlone(): void {
    if (this.readyState === 3) return
    const { connect, protocols, url } = this.#options
    const socket = connect(url, [...protocols])
    this.#alone = socket
    socket.addEventListener("open", () => this.#opened())
    socket.addEventListener("message", ({ data }) => this.#emit("message", { data }))
    socket.addEventListener("close", ({ code = 1006, reason = "" }) => this.#closed(code, reason))
  }

  #opened(): void {
    if (this.readyState !== 0) return
    this.readyState = 1
    this.#emit("open", {})
  }

  /** Takes a lock until this socket has closed, so that the leader notices when it does. Resolves when the lock is taken. */
  #hold(lock: string): Promise<void> {
    const { signal } = this.#end
    return new Promise((resolve, reject) => {
      const held = this.#options.host.locks.request(lock, { signal }, () => {
        resolve()
        return new Promise<void>((release) => signal.addEventListener("abort", () => release()))
      })
      held.catch(reject)
    })
  }

  /** Leads as soon as the lock is free; with `steal` at once. */
  #compete(name: string, how: { readonly signal: AbortSignal } | { readonly steal: true }): void {
    const { connect, host } = this.#options
    let leader: Leader | undefined
    const leading = host.locks.request(name, how, () => {
      if (this.#end.signal.aborted) return undefined
      leader = new Leader({ name, host, connect })
      return leader.done
    })
    // It was not needed any more, or it was taken by another tab.
    leading.catch(() => leader?.stop())
  }

  #join(name: string): void {
    const { protocols, url } = this.#options
    this.#all?.post({ _tag: "Join", member: this.#id, url, protocols: [...protocols] })
    if (this.#takeover !== undefined) clearTimeout(this.#takeover)
    this.#takeover = setTimeout(() => this.#compete(name, { steal: true }), takeoverDelay)
  }

  #receive(message: typeof ToMember.Type): void {
    if (message._tag === "Attached" && this.#leader === undefined) {
      this.#leader = message.leader
      if (this.#takeover !== undefined) clearTimeout(this.#takeover)
    }
    // A tab that led before may not know yet that it does not any more.
    if (message.leader !== this.#leader) return
    if (message._tag === "Received") this.#emit("message", { data: message.text })
    if (message._tag === "Closed") this.#closed(message.code, message.reason)
    if (message._tag === "Opened") this.#opened()
  }

  #closed(code: number, reason: string): void {
    if (this.readyState === 3) return
    this.readyState = 3
    if (this.#takeover !== undefined) clearTimeout(this.#takeover)
    this.#end.abort()
    this.#own?.close()
    this.#all?.close()
    this.#emit("close", { code, reason })
  }

  #emit(type: Type, event: Socket.WebSocketEvent): void {
    for (const [listener, options] of [...(this.#listeners.get(type) ?? [])]) {
      if (options?.once) this.removeEventListener(type, listener)
      listener({ type, ...event })
    }
  }

  #isOtherToken(text: string): boolean {
    if (!text.includes(authenticateTag)) return false
    const message = parse(text)
    if (!isObject(message) || message["tag"] !== authenticateTag || !isObject(message["payload"])) return false
    const { token } = message["payload"]
    const own = this.#options.protocols.find((protocol) => protocol.startsWith(bearerPrefix))
    return own !== (typeof token === "string" ? `${bearerPrefix}${token}` : undefined)
  }
}
