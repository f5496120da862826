import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import { Identity } from "../contract/Auth.ts"
import { CallError, CallLost, LimitExceeded, Unavailable } from "../protocol/CallError.ts"
import { haveHeader, livePrefix, promptHeader } from "../protocol/Frame.ts"
import * as Limits from "../protocol/Limits.ts"
import { decodeMessages, type Request } from "../protocol/Messages.ts"
import type { Database } from "../services/Database.ts"
import type { Host, Session, Socket } from "./Host.ts"
import type { Group, LiveQueries, Subscription } from "./LiveQueries.ts"
import type { Queries } from "./Queries.ts"
import { type Connection, failure, type Server } from "./Server.ts"
import { Caller } from "./Transaction.ts"

/** A live subscription as a socket remembers it. */
const RememberedSubscription = Schema.Struct({
  id: Schema.Union([Schema.String, Schema.Finite]),
  tag: Schema.String,
  payload: Schema.Unknown,
  headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  /** The hash of what was last sent. */
  sent: Schema.NullOr(Schema.String),
  unacknowledged: Schema.Int,
  prompt: Schema.Boolean
})
type RememberedSubscription = typeof RememberedSubscription.Type

/** What a socket remembers while the object sleeps. */
const Remembered = Schema.Struct({
  id: Schema.String,
  session: Schema.Struct({ tenant: Schema.String, identity: Identity }),
  version: Schema.Finite,
  /** The subscriptions, or `null` when they outgrew the attachment and are rows of a table. */
  subscriptions: Schema.NullOr(Schema.Array(RememberedSubscription)),
  /** Calls that were under way and cannot be resumed. */
  calls: Schema.Array(Schema.Union([Schema.String, Schema.Finite]))
})
type Remembered = typeof Remembered.Type

const RememberedText = Schema.fromJsonString(Remembered)
const decodeRemembered = Schema.decodeUnknownExit(RememberedText)
const encodeRemembered = Schema.encodeSync(RememberedText)
const SubscriptionText = Schema.fromJsonString(RememberedSubscription)
const decodeSubscription = Schema.decodeUnknownExit(SubscriptionText)
const encodeSubscription = Schema.encodeSync(SubscriptionText)

export interface Options {
  readonly host: Host
  readonly server: Server
  readonly live: LiveQueries
  readonly queries: Queries
  readonly database: Database["Service"]
  readonly limits: Limits.Limits
  readonly isAction: (tag: string) => boolean
}

/** The sockets of an object: their messages in, answers and frames out, and what they remember across a sleep. */
export class Sockets {
  readonly options: Options
  private readonly clients = new Map<Socket, SocketClient>()

  constructor(options: Options) {
    this.options = options
    for (const socket of options.host.sockets()) this.restore(socket)
    this.forgetGone()
  }

  /** A new socket. */
  open(socket: Socket, session: Session): void {
    const client = new SocketClient(this.options, socket, this.options.host.socketId(), session)
    this.clients.set(socket, client)
    client.remember()
  }

  message(socket: Socket, data: string | ArrayBuffer): void {
    const client = this.clients.get(socket) ?? this.restore(socket)
    if (client === undefined) return socket.close(1011, "this socket is not known any more")
    const text = typeof data === "string" ? data : new TextDecoder().decode(data)
    const { limits } = this.options
    if (text.length > limits.requestBytes) return socket.close(1009, `limit requestBytes is ${limits.requestBytes}`)
    const messages = decodeMessages(text)
    if (messages === undefined) return socket.close(1007, "not messages of effect/rpc")
    if (messages.length > limits.requestsPerBatch) {
      return socket.close(1008, `limit requestsPerBatch is ${limits.requestsPerBatch}`)
    }
    client.receive(messages)
  }

  closed(socket: Socket): void {
    this.clients.get(socket)?.close()
    this.clients.delete(socket)
  }

  private restore(socket: Socket): SocketClient | undefined {
    const remembered = decodeRemembered(socket.attachment())
    if (Exit.isFailure(remembered)) {
      socket.close(1011, "this socket is not known any more")
      return undefined
    }
    const client = new SocketClient(this.options, socket, remembered.value.id, remembered.value.session)
    this.clients.set(socket, client)
    client.restore(remembered.value)
    return client
  }

  /** Rows of sockets that went away while nobody was awake to see it. */
  private forgetGone(): void {
    const { database } = this.options
    if (!hasTable(database)) return
    const here = new Set([...this.clients.values()].map((client) => client.id))
    for (const [id] of database.all("SELECT DISTINCT socket FROM _dormouse_subscriptions", []).rows) {
      if (!here.has(id as string)) database.all("DELETE FROM _dormouse_subscriptions WHERE socket = ?", [id!])
    }
  }
}

/** One client at a socket. */
class SocketClient implements Group {
  readonly id: string
  readonly identity: string
  private readonly options: Options
  private readonly socket: Socket
  private readonly session: Session
  private readonly connection: Connection
  private readonly context: Context.Context<never>
  private readonly subscriptions = new Map<string | number, Subscription & { prompt?: boolean }>()
  private readonly headers = new Map<string | number, Request["headers"]>()
  private readonly prompt = new Set<string | number>()
  private readonly calls = new Map<string | number, RunningCall>()
  /** Messages that wait for the end of the event, to leave as one. */
  private outgoing: Array<string> | undefined
  /** The version of a mutation whose sender waits to hear that everything up to it was delivered. */
  private settling = 0
  private spilled = false

  constructor(options: Options, socket: Socket, id: string, session: Session) {
    this.options = options
    this.socket = socket
    this.id = id
    this.session = session
    this.identity = JSON.stringify(session.identity)
    this.context = Context.make(Caller, session.identity)
    this.connection = options.server.open((message) => this.send(message))
  }

  // --- messages in

  receive(messages: ReadonlyArray<FromClientEncoded>): void {
    this.outgoing = []
    let changed = false
    for (const message of messages) changed = this.handle(message) || changed
    this.flushOutgoing()
    if (changed) this.remember()
  }

  /** Answers whether there is something new to remember. */
  private handle(message: FromClientEncoded): boolean {
    switch (message._tag) {
      case "Request":
        if (message.tag.startsWith(livePrefix)) return this.subscribe(message)
        if (this.options.isAction(message.tag)) return this.act(message)
        this.transact(message)
        return false
      case "Ack":
        return this.acknowledge(message.requestId)
      case "Interrupt":
        return this.interrupt(message.requestId)
      default:
        this.connection.receive(message)
        return false
    }
  }

  private transact(message: Request): void {
    const { live } = this.options
    const before = live.currentVersion
    const isNumbered = message.headers.some(([name]) => name === "dormouse-mutation")
    this.connection.receive(message as FromClientEncoded, this.context)
    if (!isNumbered) return
    // Handlers run to their end at once, so a commit that happened here was this request's.
    const version = live.currentVersion
    this.text(JSON.stringify({ _tag: "Committed", requestId: message.id, version }))
    this.settling = Math.max(this.settling, version)
    if (version !== before && live.isScheduled) live.deliverAfterFlush(this)
    else this.settle()
  }

  private subscribe(message: Request): boolean {
    const question = this.options.queries.question(message.tag.slice(livePrefix.length), {
      payload: message.payload,
      headers: message.headers.filter(([name]) => name !== haveHeader && name !== promptHeader),
      identity: this.identity
    })
    if ("_tag" in question) {
      this.exit(message.id, question)
      return false
    }
    // An id that is used again means the new request; the old one has no reader any more.
    this.unsubscribe(message.id)
    const header = (name: string) => message.headers.find(([key]) => key.toLowerCase() === name)?.[1]
    const subscription = this.options.live.subscribe(this, message.id, question)
    this.subscriptions.set(message.id, subscription)
    this.headers.set(message.id, message.headers)
    if (header(promptHeader) !== undefined) this.prompt.add(message.id)
    const value = subscription.query.value
    if (subscription.query.failure === undefined && value !== undefined && header(haveHeader) === value.hash) {
      subscription.sent = value.hash
      subscription.base = value
      this.frame(subscription, `{"_tag":"Current","version":${this.options.live.flushedVersion}}`)
    } else {
      this.deliverOne(subscription)
    }
    return true
  }

  private acknowledge(id: string | number): boolean {
    const call = this.calls.get(id)
    if (call !== undefined) {
      call.acknowledged()
      return false
    }
    const subscription = this.subscriptions.get(id)
    if (subscription === undefined) {
      this.connection.receive({ _tag: "Ack", requestId: id })
      return false
    }
    subscription.unacknowledged = Math.max(0, subscription.unacknowledged - 1)
    // After a wake nobody knows whether the result is still what was sent.
    this.options.live.refresh(subscription.query)
    this.deliver()
    return true
  }

  private interrupt(id: string | number): boolean {
    const call = this.calls.get(id)
    if (call !== undefined) {
      call.abort.abort()
      return false
    }
    if (this.unsubscribe(id)) {
      this.exit(id, interrupted)
      return true
    }
    this.connection.receive({ _tag: "Interrupt", requestId: id })
    return false
  }

  private unsubscribe(id: string | number): boolean {
    const subscription = this.subscriptions.get(id)
    if (subscription === undefined) return false
    this.options.live.unsubscribe(subscription)
    this.subscriptions.delete(id)
    this.headers.delete(id)
    this.prompt.delete(id)
    if (this.spilled) {
      this.options.database.all("DELETE FROM _dormouse_subscriptions WHERE socket = ? AND request = ?", [
        this.id,
        JSON.stringify(id)
      ])
    }
    return true
  }

  /** Actions do I/O, which would keep everybody else's calls waiting here: the host runs them elsewhere. */
  private act(request: Request): boolean {
    const call = new RunningCall()
    this.calls.set(request.id, call)
    const relay = async () => {
      try {
        for await (const message of this.options.host.act(request, this.session, call.abort.signal)) {
          this.send(message)
          if (message._tag === "Exit") return
          if (message._tag === "Chunk") await call.acknowledgement()
        }
        this.exit(request.id, unavailable("the action ended without an answer"))
      } catch {
        this.exit(request.id, call.abort.signal.aborted ? interrupted : unavailable("the action could not be run"))
      } finally {
        this.calls.delete(request.id)
        this.remember()
      }
    }
    void relay()
    return true
  }

  close(): void {
    for (const subscription of this.subscriptions.values()) this.options.live.unsubscribe(subscription)
    this.subscriptions.clear()
    for (const call of this.calls.values()) call.abort.abort()
    this.connection.close()
    if (this.spilled) {
      this.options.database.all("DELETE FROM _dormouse_subscriptions WHERE socket = ?", [this.id])
    }
  }

  // --- messages out

  /** Brings every subscription of the socket to the last results, in one message. */
  deliver(): void {
    const outermost = this.outgoing === undefined
    this.outgoing ??= []
    const due: Array<Subscription> = []
    for (const subscription of this.subscriptions.values()) {
      const { failure, value } = subscription.query
      if (failure !== undefined || (value !== undefined && value.hash !== subscription.sent)) due.push(subscription)
    }
    // A prompt reader acknowledges at once: waiting for it keeps what one commit changed in one message.
    const held = due.some(({ id, unacknowledged }) => unacknowledged > 0 && this.prompt.has(id))
    for (const subscription of due) {
      if (subscription.unacknowledged > 0 || (held && this.prompt.has(subscription.id))) continue
      this.deliverOne(subscription)
    }
    if (!held) this.settle()
    if (outermost) {
      const sent = this.outgoing.length > 0
      this.flushOutgoing()
      if (sent) this.remember()
    }
  }

  private deliverOne(subscription: Subscription): void {
    const { query } = subscription
    if (query.failure !== undefined) {
      this.unsubscribe(subscription.id)
      return this.exit(subscription.id, query.failure)
    }
    const value = query.value!
    const frame = query.frame(subscription)
    subscription.sent = value.hash
    subscription.base = value
    this.frame(subscription, frame)
  }

  private frame(subscription: Subscription, frame: string): void {
    const { stats } = subscription.query
    const id = JSON.stringify(subscription.id)
    const chunk = (value: string) => `{"_tag":"Chunk","requestId":${id},"values":[${value}]}`
    for (const part of split(frame)) {
      const text = chunk(part)
      subscription.unacknowledged++
      stats.frames++
      stats.bytes += text.length
      this.text(text)
    }
  }

  /** Tells a sender of mutations that what they changed was delivered here. */
  private settle(): void {
    if (this.settling === 0) return
    this.text(JSON.stringify({ _tag: "Settled", version: this.options.live.flushedVersion }))
    this.settling = 0
  }

  private exit(id: string | number, exit: Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]): void {
    this.send({ _tag: "Exit", requestId: id, exit })
  }

  private send(message: FromServerEncoded): void {
    const text = JSON.stringify(message)
    const { resultBytes } = this.options.limits
    if (text.length > resultBytes && message._tag === "Exit") {
      const reason = new LimitExceeded({ limit: "resultBytes", max: resultBytes, actual: text.length })
      return this.exit(message.requestId, failure(new CallError({ reason })))
    }
    this.text(text)
  }

  private text(text: string): void {
    if (this.outgoing === undefined) this.socket.send(text)
    else this.outgoing.push(text)
  }

  /** Sends what the event gathered: as one message, or as few as the limit allows. */
  private flushOutgoing(): void {
    const texts = this.outgoing ?? []
    this.outgoing = undefined
    let batch: Array<string> = []
    let bytes = 0
    const sendBatch = () => {
      if (batch.length > 0) this.socket.send(batch.length === 1 ? batch[0]! : `[${batch.join(",")}]`)
      batch = []
      bytes = 0
    }
    for (const text of texts) {
      if (bytes + text.length > Limits.socketMessageBytes) sendBatch()
      batch.push(text)
      bytes += text.length + 1
    }
    sendBatch()
  }

  // --- memory

  /** Writes down what must survive a sleep. */
  remember(): void {
    const remembered = (subscriptions: Remembered["subscriptions"]) =>
      encodeRemembered({
        id: this.id,
        session: this.session,
        version: this.options.live.currentVersion,
        subscriptions,
        calls: [...this.calls.keys()]
      })
    const subscriptions = [...this.subscriptions.values()].map((subscription) => this.toRemembered(subscription))
    if (!this.spilled) {
      const text = remembered(subscriptions)
      if (attachedBytes(text) <= Limits.socketAttachmentBytes) return this.socket.attach(text)
      this.spilled = true
      this.options.database.all(createTable, [])
    }
    for (const subscription of subscriptions) {
      if (this.stored.has(subscription.id)) continue
      this.stored.add(subscription.id)
      this.options.database.all("INSERT OR REPLACE INTO _dormouse_subscriptions VALUES (?, ?, ?)", [
        this.id,
        JSON.stringify(subscription.id),
        // A row for each frame would be a row that somebody pays for: after a sleep the value is compared anew.
        encodeSubscription({ ...subscription, sent: null, unacknowledged: 0 })
      ])
    }
    this.socket.attach(remembered(null))
  }

  /** The subscriptions that have a row. */
  private readonly stored = new Set<string | number>()

  private toRemembered(subscription: Subscription): RememberedSubscription {
    return {
      id: subscription.id,
      tag: subscription.query.question.tag,
      payload: subscription.query.question.payload,
      headers: subscription.query.question.headers as Request["headers"],
      sent: subscription.sent ?? null,
      unacknowledged: subscription.unacknowledged,
      prompt: this.prompt.has(subscription.id)
    }
  }

  restore(remembered: Remembered): void {
    const { database, live, queries } = this.options
    live.atLeast(remembered.version)
    this.spilled = remembered.subscriptions === null
    const subscriptions =
      remembered.subscriptions ??
      database.all("SELECT data FROM _dormouse_subscriptions WHERE socket = ?", [this.id]).rows.flatMap(([data]) => {
        const decoded = decodeSubscription(data)
        return Exit.isSuccess(decoded) ? [decoded.value] : []
      })
    for (const { headers, id, payload, prompt, sent, tag, unacknowledged } of subscriptions) {
      if (this.spilled) this.stored.add(id)
      const question = queries.question(tag, { payload, headers, identity: this.identity })
      if ("_tag" in question) {
        // The app that the object woke with no longer has this query, or not this payload.
        this.exit(id, question)
        continue
      }
      const subscription = live.restore(this, id, question, sent ?? undefined)
      subscription.unacknowledged = unacknowledged
      if (prompt) this.prompt.add(id)
      this.subscriptions.set(id, subscription)
    }
    for (const id of remembered.calls) this.exit(id, lost)
    if (remembered.calls.length > 0) this.remember()
  }
}

/** An action under way for a socket. */
class RunningCall {
  readonly abort = new AbortController()
  private resolve: (() => void) | undefined
  private early = 0

  acknowledged(): void {
    if (this.resolve === undefined) this.early++
    else this.resolve()
    this.resolve = undefined
  }

  /** Resolves when the client has taken the chunk. */
  acknowledgement(): Promise<void> {
    if (this.early > 0) {
      this.early--
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      this.resolve = resolve
      this.abort.signal.addEventListener("abort", () => reject(new Error("interrupted")), { once: true })
    })
  }
}

const interrupted: Extract<FromServerEncoded, { _tag: "Exit" }>["exit"] = {
  _tag: "Failure",
  cause: [{ _tag: "Interrupt", fiberId: null }]
}
const lost = failure(new CallError({ reason: new CallLost({}) }))
const unavailable = (detail: string) => failure(new CallError({ reason: new Unavailable({ detail }) }))

/** A frame that is too large for one message, in pieces of its text. Escaping may double a piece. */
const split = (frame: string): ReadonlyArray<string> => {
  if (frame.length <= Limits.socketMessageBytes / 2) return [frame]
  const size = Math.floor(Limits.socketMessageBytes / 4)
  const parts: Array<string> = []
  for (let i = 0; i < frame.length; i += size) {
    const text = frame.slice(i, i + size)
    parts.push(JSON.stringify({ _tag: "Part", text, last: i + size >= frame.length }))
  }
  return parts
}

/** What the platform may count of a string at most: two bytes a character, and a frame around them. */
const attachedBytes = (text: string): number => text.length * 2 + 32

const createTable =
  "CREATE TABLE IF NOT EXISTS _dormouse_subscriptions (socket TEXT NOT NULL, request TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (socket, request)) WITHOUT ROWID"

const hasTable = (database: Database["Service"]): boolean =>
  database.all("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_subscriptions'", []).rows.length > 0
