import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import { CallError, CallLost, LimitExceeded, Unavailable } from "../protocol/CallError.ts"
import { knownHashHeader, livePrefix, promptHeader } from "../protocol/Frame.ts"
import * as Limits from "../protocol/Limits.ts"
import { decodeMessages, isDeeper, type Request } from "../protocol/Messages.ts"
import { mutationHeader } from "../protocol/MutationId.ts"
import type { Database } from "../services/Database.ts"
import * as Attachment from "./Attachment.ts"
import type { Host, Session, Socket } from "./Host.ts"
import { decodeText } from "./HttpMessages.ts"
import { type Group, type LiveQueries, type Question, Subscription } from "./LiveQueries.ts"
import type { Queries } from "./Queries.ts"
import { type Connection, encode, failure, type Server } from "./Server.ts"
import { Caller } from "./Transaction.ts"

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
  /** Clients that have something new to remember. */
  private forgetful = new Set<SocketClient>()

  constructor(options: Options) {
    this.options = options
    const memory = this.memory()
    for (const socket of options.host.sockets()) this.restore(socket, memory)
    this.forgetGone()
  }

  /** A new socket. */
  open(socket: Socket, session: Session): void {
    const client = new SocketClient(this.options, this.rememberSoon, socket, this.options.host.socketId(), session)
    this.clients.set(socket, client)
    client.remember()
  }

  message(socket: Socket, data: string | ArrayBuffer): void {
    const client = this.clients.get(socket) ?? this.restore(socket, this.memory())
    if (client === undefined) return socket.close(1011, "this socket is not known any more")
    const { requestBytes, requestDepth, requestsPerBatch } = this.options.limits
    const text = typeof data === "string" ? data : decodeText(data)
    if (text === undefined) return socket.close(1007, "not UTF-8")
    if (Limits.bytesBeyond(text, requestBytes) !== undefined) {
      return socket.close(1009, Limits.describe("requestBytes", requestBytes))
    }
    if (isDeeper(text, requestDepth)) return socket.close(1008, Limits.describe("requestDepth", requestDepth))
    const messages = decodeMessages(text)
    if (messages === undefined) return socket.close(1007, "not messages of effect/rpc")
    if (messages.length > requestsPerBatch) {
      return socket.close(1008, Limits.describe("requestsPerBatch", requestsPerBatch))
    }
    try {
      client.receive(messages)
    } catch (cause) {
      // Who would wait for an answer in vain comes again.
      socket.close(1011, "the server could not answer; the cause is in its log")
      this.closed(socket)
      throw cause
    }
  }

  closed(socket: Socket): void {
    this.clients.get(socket)?.close()
    this.clients.delete(socket)
  }

  private memory(): Memory {
    return { decode: Attachment.decoder(), question: once(this.options.queries) }
  }

  /**
   * Has a client write down what is new once the messages of this turn have left, together with what the next ones
   * change: the object does not sleep before.
   */
  private readonly rememberSoon = (client: SocketClient): void => {
    if (this.forgetful.size === 0) {
      this.options.host.soon(() => {
        const clients = this.forgetful
        this.forgetful = new Set()
        let failed: { readonly cause: unknown } | undefined
        for (const client of clients) {
          try {
            client.remember()
          } catch (cause) {
            // Who would be forgotten comes again; the others are remembered all the same.
            client.giveUp()
            failed ??= { cause }
          }
        }
        if (failed !== undefined) throw failed.cause
      })
    }
    this.forgetful.add(client)
  }

  private restore(socket: Socket, { decode, question }: Memory): SocketClient | undefined {
    const attachment = decode(socket.attachment())
    if (Option.isNone(attachment)) {
      socket.close(1011, "this socket is not known any more")
      return undefined
    }
    const { id, session } = attachment.value
    const client = new SocketClient(this.options, this.rememberSoon, socket, id, session)
    this.clients.set(socket, client)
    client.restore(attachment.value, question)
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

/** What it takes to find out what a socket remembers, for many sockets that may remember the same. */
interface Memory {
  readonly decode: ReturnType<typeof Attachment.decoder>
  readonly question: Queries["question"]
}

/** Thousands of sockets may have asked the same: what it takes to understand a question is done once. */
const once = (queries: Queries): Queries["question"] => {
  const known = new Map<string, ReturnType<Queries["question"]>>()
  return (tag, request) => {
    const key = JSON.stringify([tag, request])
    let question = known.get(key)
    if (question === undefined) {
      question = queries.question(tag, request)
      known.set(key, question)
    }
    return question
  }
}

/** One live query of one socket. */
class Reader extends Subscription implements Attachment.Entry {
  /** The JSON of its id. */
  readonly key: string
  readonly asked: string
  readonly prompt: boolean
  /** The hash of the value that the client came with, until the first frame. */
  have: string | undefined
  /** Messages that the client has not acknowledged. */
  unacknowledged = 0
  /** Whether there is a newer result that could not be sent yet. */
  waiting = false

  constructor(group: Group, id: string | number, question: Question, prompt: boolean) {
    super(group, id)
    this.key = JSON.stringify(id)
    this.prompt = prompt
    const { headers, payload, tag } = question
    this.asked = Attachment.encodeAsked({ id, tag, payload, headers, prompt })
  }
}

/** One client at a socket. */
class SocketClient implements Group {
  readonly id: string
  readonly identity: string
  readonly changed = new Set<Reader>()
  private readonly options: Options
  private readonly socket: Socket
  private readonly session: Session
  private readonly connection: Connection
  private readonly context: Context.Context<never>
  private readonly head: string
  private readonly readers = new Map<string | number, Reader>()
  private readonly calls = new Map<string | number, RunningCall>()
  /** Messages that wait for the end of the event, to leave as one. */
  private outgoing: Array<string> | undefined
  /** The first and the last commit whose sender waits to hear that everything up to it was delivered here. */
  private settling: readonly [first: number, last: number] = settled
  /** The subscriptions that are rows of a table, once there were too many for the attachment. */
  private stored: Set<string | number> | undefined
  /** What is attached to the socket is not what must survive a sleep. */
  private isForgetful = false
  private readonly rememberSoon: (client: SocketClient) => void
  private isClosed = false

  constructor(
    options: Options,
    rememberSoon: (client: SocketClient) => void,
    socket: Socket,
    id: string,
    session: Session
  ) {
    this.options = options
    this.rememberSoon = rememberSoon
    this.socket = socket
    this.id = id
    this.session = session
    this.identity = JSON.stringify(session.identity)
    this.head = Attachment.head(id, session)
    this.context = Context.make(Caller, session.identity)
    this.connection = options.server.open((message) => this.send(message))
  }

  // --- messages in

  receive(messages: ReadonlyArray<FromClientEncoded>): void {
    this.event(() => {
      for (const message of messages) this.handle(message)
    })
  }

  private handle(message: FromClientEncoded): void {
    switch (message._tag) {
      case "Request":
        // An id that is used again means the new request; the old one has no reader any more.
        this.abandon(message.id)
        if (message.tag.startsWith(livePrefix)) return this.subscribe(message)
        if (this.options.isAction(message.tag)) return this.act(message)
        return this.transact(message)
      case "Ack":
        return this.acknowledge(message.requestId)
      case "Interrupt":
        return this.interrupt(message.requestId)
      default:
        this.connection.receive(message)
    }
  }

  private transact(message: Request): void {
    const { live } = this.options
    const { id } = message
    const isNumbered = headerOf(message, mutationHeader) !== undefined
    this.connection.receive(message as FromClientEncoded, this.context)
    if (!isNumbered) return
    // Handlers run to their end at once: whatever this request committed has a version that is not above this one.
    const version = live.currentVersion
    this.text(JSON.stringify({ _tag: "Committed", requestId: id, version }))
    this.settling = [this.settling[0] || version, version]
    this.isForgetful = true
    if (live.isScheduled) live.deliverAfterFlush(this)
    else this.settle()
  }

  private subscribe(message: Request): void {
    const { live, queries } = this.options
    // Nobody would read its frames.
    if (message.isNotification === true) return
    if (message.discard === true) return this.exit(message.id, { _tag: "Success", value: null })
    const question = queries.question(message.tag.slice(livePrefix.length), {
      payload: message.payload,
      headers: message.headers.filter(([name]) => !ownHeaders.has(name.toLowerCase())),
      identity: this.identity
    })
    if ("_tag" in question) return this.exit(message.id, question)
    const reader = new Reader(this, message.id, question, headerOf(message, promptHeader) !== undefined)
    const actual = Limits.bytesBeyond(reader.asked, Limits.sqlite.rowBytes)
    if (actual !== undefined) {
      const reason = new LimitExceeded({ limit: "rowBytes", max: Limits.sqlite.rowBytes, actual })
      return this.exit(message.id, failure(new CallError({ reason })))
    }
    reader.have = headerOf(message, knownHashHeader)
    this.readers.set(message.id, reader)
    this.isForgetful = true
    live.subscribe(reader, question)
    this.deliver()
    live.deliver()
  }

  private acknowledge(id: string | number): void {
    const call = this.calls.get(id)
    if (call !== undefined) return call.acknowledged()
    const reader = this.readers.get(id)
    if (reader === undefined) return this.connection.receive({ _tag: "Ack", requestId: id })
    reader.unacknowledged = Math.max(0, reader.unacknowledged - 1)
    this.isForgetful = true
    this.deliver()
    this.options.live.deliver()
  }

  private interrupt(id: string | number): void {
    const call = this.calls.get(id)
    if (call !== undefined) return call.abort.abort()
    if (!this.unsubscribe(id)) return this.connection.receive({ _tag: "Interrupt", requestId: id })
    this.exit(id, interrupted)
    // What was held back for it may go now.
    this.deliver()
    this.options.live.deliver()
  }

  private abandon(id: string | number): void {
    this.unsubscribe(id)
    this.calls.get(id)?.abort.abort()
    if (this.calls.delete(id)) this.isForgetful = true
  }

  private unsubscribe(id: string | number): boolean {
    const reader = this.readers.get(id)
    if (reader === undefined) return false
    this.options.live.unsubscribe(reader)
    this.readers.delete(id)
    this.isForgetful = true
    if (this.stored?.delete(id)) {
      this.options.database.all("DELETE FROM _dormouse_subscriptions WHERE socket = ? AND request = ?", [
        this.id,
        reader.key
      ])
    }
    return true
  }

  /** Actions do I/O, which would keep everybody else's calls waiting here: the host runs them elsewhere. */
  private act(request: Request): void {
    const { id } = request
    const call = new RunningCall()
    let isAnswered = request.isNotification === true
    if (!isAnswered) {
      this.calls.set(id, call)
      this.isForgetful = true
    }
    const send = (message: FromServerEncoded) => {
      // Its id may mean another request by now.
      if (this.calls.get(id) === call) this.send(message)
    }
    const relay = async () => {
      try {
        for await (const message of this.options.host.act(request, this.session, call.abort.signal)) {
          send(message)
          // A call that is acknowledged at once has its exit and goes on.
          isAnswered ||= message._tag === "Exit"
          if (message._tag === "Chunk") await call.acknowledgement()
        }
        if (!isAnswered) send({ _tag: "Exit", requestId: id, exit: unavailable("the action ended without an answer") })
      } catch {
        const exit = call.abort.signal.aborted ? interrupted : unavailable("the action could not be run")
        if (!isAnswered) send({ _tag: "Exit", requestId: id, exit })
      } finally {
        if (this.calls.get(id) === call) this.calls.delete(id)
        this.remember()
      }
    }
    void relay()
  }

  close(): void {
    this.isClosed = true
    for (const reader of this.readers.values()) this.options.live.unsubscribe(reader)
    this.readers.clear()
    for (const call of this.calls.values()) call.abort.abort()
    this.connection.close()
    if (this.stored !== undefined) {
      this.options.database.all("DELETE FROM _dormouse_subscriptions WHERE socket = ?", [this.id])
    }
  }

  giveUp(): void {
    this.socket.close(1011, "the server could not remember what is under way here; the cause is in its log")
  }

  // --- messages out

  /** Runs what one event brings: what it has to say leaves as one message, and then what has to survive is remembered. */
  private event(body: () => void): void {
    if (this.outgoing !== undefined) return body()
    this.outgoing = []
    try {
      body()
    } finally {
      this.flushOutgoing()
      if (this.isForgetful) this.rememberSoon(this)
    }
  }

  /** Brings the subscriptions that changed to the last results, in one message. */
  deliver(): void {
    const { live } = this.options
    this.event(() => {
      for (const reader of this.changed) {
        // What waited when the object went to sleep has to be found again.
        live.refresh(reader.query)
        if (!reader.isDue) this.take(reader)
      }
      // A prompt reader acknowledges at once: waiting for it keeps what one commit changed in one message.
      const isHeld = some(this.changed, ({ prompt, unacknowledged }) => prompt && unacknowledged > 0)
      for (const reader of [...this.changed]) {
        if (reader.unacknowledged === 0 && !(isHeld && reader.prompt)) this.result(reader)
        else if (!reader.waiting) {
          reader.waiting = true
          this.isForgetful = true
        }
      }
      this.settle()
    })
  }

  private take(reader: Reader): void {
    this.changed.delete(reader)
    if (!reader.waiting) return
    reader.waiting = false
    this.isForgetful = true
  }

  /** Sends the last result, as what changes the one before into it where that is less. */
  private result(reader: Reader): void {
    this.take(reader)
    const { query } = reader
    if (query.failure !== undefined) {
      this.unsubscribe(reader.id)
      return this.exit(reader.id, query.failure)
    }
    // What is due and has not failed has a value.
    const value = query.value!
    const frame =
      reader.have === value.hash
        ? `{"_tag":"Current","version":${this.options.live.flushedVersion}}`
        : value.frameFrom(reader.base)
    reader.have = undefined
    reader.sent = value.hash
    reader.base = value
    this.isForgetful = true
    for (const part of split(frame)) {
      const text = `{"_tag":"Chunk","requestId":${reader.key},"values":[${part}]}`
      reader.unacknowledged++
      this.options.live.countFrame(query, text.length)
      this.text(text)
    }
  }

  /** Tells a sender of mutations up to which commit everything was delivered here. */
  private settle(): void {
    const [first, last] = this.settling
    if (first === 0) return
    let version = this.options.live.flushedVersion
    for (const { base } of this.changed) version = Math.min(version, base?.version ?? 0)
    if (version < first) return
    this.text(JSON.stringify({ _tag: "Delivered", version }))
    this.settling = version < last ? [version + 1, last] : settled
    this.isForgetful = true
  }

  private exit(id: string | number, exit: Extract<FromServerEncoded, { _tag: "Exit" }>["exit"]): void {
    this.send({ _tag: "Exit", requestId: id, exit })
  }

  private send(message: FromServerEncoded): void {
    this.text(encode(message, this.options.limits))
  }

  private text(text: string): void {
    if (this.outgoing === undefined) this.socket.send(text)
    else this.outgoing.push(text)
  }

  /** Sends what the event gathered: as one message, or as few as the limit allows. */
  private flushOutgoing(): void {
    const texts = this.outgoing ?? []
    this.outgoing = undefined
    // No character takes more than three bytes; counting them is left for when it matters.
    const isSmall = texts.reduce((sum, text) => sum + text.length + 2, 0) * 3 <= Limits.socketMessageBytes
    let batch: Array<string> = []
    let bytes = 0
    const sendBatch = () => {
      if (batch.length > 0) this.socket.send(batch.length === 1 ? batch[0]! : `[${batch.join(",")}]`)
      batch = []
      bytes = 2
    }
    for (const text of texts) {
      const more = isSmall ? 0 : encoder.encode(text).length + 1
      if (bytes + more > Limits.socketMessageBytes) sendBatch()
      batch.push(text)
      bytes += more
    }
    sendBatch()
  }

  // --- memory

  /** Writes down what must survive a sleep. */
  remember(): void {
    if (this.isClosed) return
    this.isForgetful = false
    const entries = [...this.readers.values()]
    const { spilled, text } = Attachment.encode(this.head, {
      version: this.options.live.currentVersion,
      settling: this.settling,
      calls: this.calls.keys(),
      entries,
      spilled: this.stored !== undefined
    })
    if (!Attachment.fits(text)) {
      return this.socket.close(1009, `limit socketAttachmentBytes is ${Limits.socketAttachmentBytes}`)
    }
    if (spilled) this.store(entries)
    this.socket.attach(text)
  }

  /** Rows for the subscriptions that have none. A row for each frame would be a row that somebody pays for. */
  private store(readers: ReadonlyArray<Reader>): void {
    const { database } = this.options
    if (this.stored === undefined) {
      this.stored = new Set()
      database.all(createTable, [])
    }
    for (const { asked, id, key } of readers) {
      if (this.stored.has(id)) continue
      this.stored.add(id)
      database.all("INSERT OR REPLACE INTO _dormouse_subscriptions VALUES (?, ?, ?)", [this.id, key, asked])
    }
  }

  restore(
    { calls, progress, settling, subscriptions, version }: Attachment.Attachment,
    question: Queries["question"]
  ): void {
    const { database, live } = this.options
    live.atLeast(version)
    this.settling = settling
    if (subscriptions === null) this.stored = new Set()
    const all =
      subscriptions ??
      database.all("SELECT data FROM _dormouse_subscriptions WHERE socket = ?", [this.id]).rows.flatMap(([data]) => {
        const decoded = Attachment.decodeAsked(data)
        return Exit.isSuccess(decoded) ? [decoded.value] : []
      })
    const progressById = new Map(progress?.map((entry) => [entry[0], entry]))
    for (const { headers, id, payload, prompt, tag } of all) {
      this.stored?.add(id)
      const known = question(tag, { payload, headers, identity: this.identity })
      if ("_tag" in known) {
        // The app that the object woke with no longer has this query, or not this payload.
        this.exit(id, known)
        this.isForgetful = true
        continue
      }
      const reader = new Reader(this, id, known, prompt)
      // Of what did not fit into the attachment nothing is known: its result counts as not sent.
      const [, sent, unacknowledged, waiting] = progressById.get(id) ?? [id, null, 0, true]
      reader.sent = sent ?? undefined
      reader.unacknowledged = unacknowledged
      reader.waiting = waiting
      if (waiting) this.changed.add(reader)
      this.readers.set(id, reader)
      live.restore(reader, known)
    }
    for (const id of calls) this.exit(id, lost)
    if (this.isForgetful || calls.length > 0) this.remember()
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

const settled = [0, 0] as const

/** What a request says to live queries, and not to middleware. */
const ownHeaders: ReadonlySet<string> = new Set([knownHashHeader, promptHeader])

const headerOf = ({ headers }: Request, name: string): string | undefined =>
  headers.find(([key]) => key.toLowerCase() === name)?.[1]

const some = <A>(items: Iterable<A>, predicate: (item: A) => boolean): boolean => {
  for (const item of items) if (predicate(item)) return true
  return false
}

const encoder = new TextEncoder()

/** Bytes of a frame that needs no splitting: the message around it has an id and a few names. */
const frameBytes = Limits.socketMessageBytes - 1024

/** A frame that is too large for one message, in pieces of its text. */
const split = (frame: string): ReadonlyArray<string> => {
  if (frame.length * 3 <= frameBytes || encoder.encode(frame).length <= frameBytes) return [frame]
  // No character of a JSON text takes more than three bytes when it is quoted once more.
  const size = Math.floor(frameBytes / 3) - 32
  const parts: Array<string> = []
  for (let start = 0; start < frame.length; ) {
    let end = Math.min(start + size, frame.length)
    // Both halves of a pair belong to one piece: not every reader takes half of one.
    if (end < frame.length && isHighSurrogate(frame.charCodeAt(end - 1))) end--
    parts.push(JSON.stringify({ _tag: "Part", text: frame.slice(start, end), last: end === frame.length }))
    start = end
  }
  return parts
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff

const createTable =
  "CREATE TABLE IF NOT EXISTS _dormouse_subscriptions (socket TEXT NOT NULL, request TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (socket, request)) WITHOUT ROWID"

const hasTable = (database: Database["Service"]): boolean =>
  database.all("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_subscriptions'", []).rows.length > 0
