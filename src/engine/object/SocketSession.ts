/**
 * One client at one socket: its messages in, its answers and frames out, and what has to survive hibernation.
 * Everything it sends in a turn leaves at the end of the turn, as one message where the limit allows.
 */
import * as Headers from "effect/http/Headers"
import { ServerClient } from "effect/rpc/Rpc"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import { anonymous } from "../../contract/Auth.ts"
import { accessPrefix, type From, type PubsubRuntime, type Reader } from "../../contract/Pubsub.ts"
import { type Authenticated, authenticateTag, signedOut } from "../../protocol/Authenticate.ts"
import { Unauthenticated } from "../../protocol/CallError.ts"
import {
  chunkMessage,
  done,
  type EncodedExit,
  exitMessage,
  failed,
  interrupted,
  limitExceeded,
  lost
} from "../../protocol/Exit.ts"
import { knownHashHeader, livePrefix, promptHeader } from "../../protocol/Frame.ts"
import * as Limits from "../../protocol/Limits.ts"
import { pong, type Request } from "../../protocol/Messages.ts"
import { mutationHeader } from "../../protocol/MutationId.ts"
import type { HostSocket } from "../../services/SocketHost.ts"
import { type CallerKeys, keysOf, type TooMany, tooManyExit } from "../rpc/CallRates.ts"
import { parentOf } from "../rpc/RequestSpan.ts"
import { encodeMessage } from "../rpc/RpcTransport.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { AckDeadlines } from "./AckDeadlines.ts"
import { type ActionHost, ActionRelay } from "./ActionRelay.ts"
import { type Call, type Caller, type Execution, type Executor, exitText, type PendingExecution } from "./Executor.ts"
import * as FlowControl from "./FlowControl.ts"
import { type LiveQueries, type QueryKey, type Subscriber, Subscription } from "./LiveQueries.ts"
import type { Ended, SessionEnds } from "./SessionEnds.ts"
import { SessionRenewal } from "./SessionRenewal.ts"
import {
  type Attachment,
  attachmentPrefix,
  encodeAttachment,
  fits,
  rowWithProgress,
  type SubscriptionEntry,
  type SubscriptionRow,
  type SubscriptionRows
} from "./SubscriptionStore.ts"

/** Reads the key of a live query from a request, or returns the exit that refuses it. */
export type ReadQueryKey = (
  tag: string,
  request: {
    readonly payload: unknown
    readonly headers: ReadonlyArray<readonly [string, string]>
    readonly identity: string
    /** Whether it may be a query of the engine's own. */
    readonly isTrusted?: boolean
  }
) => QueryKey | EncodedExit

/** What the sessions of an object share. */
export interface SocketSessionOptions {
  readonly executor: Executor
  readonly live: LiveQueries
  readonly readQueryKey: ReadQueryKey
  readonly actions: ActionHost["Service"]
  readonly rows: SubscriptionRows
  readonly limits: Limits.Limits
  readonly liveQueriesPerSocket: number
  /** Counts a call. Returns why it must not run. */
  readonly charge: (session: SocketSession) => TooMany | undefined
  /** The socket goes on although its calls are refused. */
  readonly onFlood: (session: SocketSession, refused: TooMany) => void
  readonly deadlines: AckDeadlines<SocketSubscription>
  readonly ends: SessionEnds
  readonly isAction: (tag: string) => boolean
  readonly isTopic: (tag: string) => boolean
  readonly pubsub: PubsubRuntime | undefined
  /** Runs a task later, and keeps the object awake until then. Returns the function that cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  /** Runs a body as a turn of the object. */
  readonly turn: (body: () => void) => void
  /** The session has something to send at the end of the turn. */
  readonly onOutput: (session: SocketSession) => void
  /** The session has something to save before the object can hibernate. */
  readonly onDirty: (session: SocketSession) => void
  /** The client was not heard of for too long. */
  readonly onGone: (session: SocketSession) => void
  /** The session continues as another caller, or with another token: save it before anything leaves. */
  readonly onRenewed: (session: SocketSession, before: CallerKeys) => void
  /** The token of the session has ended: close its socket. */
  readonly onEnded: (session: SocketSession, problem: Ended) => void
}

/** One live query of one socket. */
export class SocketSubscription extends Subscription implements SubscriptionEntry, FlowControl.ReaderState {
  readonly session: SocketSession
  readonly idText: string
  readonly requestText: string
  readonly prompt: boolean
  /** The hash of the value that the client came with, until the first frame. */
  knownHash: string | undefined
  unacknowledged = 0
  /** The version of the last frame; 0 when it was sent before hibernation. */
  version = 0
  waiting = false
  /** What a topic sends to it. A live query has none. */
  reader: Reader | undefined

  constructor(session: SocketSession, id: string | number, key: QueryKey, prompt: boolean) {
    super(session, id)
    this.session = session
    this.idText = JSON.stringify(id)
    this.prompt = prompt
    const { headers, payload, tag } = key
    this.requestText = JSON.stringify({ id, tag, payload, headers, prompt })
  }
}

/** One client at one socket. */
export class SocketSession implements Subscriber {
  readonly id: string
  /** The caller as text. A new token can change it. */
  identity: string
  readonly pending = new Set<SocketSubscription>()
  readonly socket: HostSocket
  private readonly options: SocketSessionOptions
  private session: RequestSession
  private caller: Caller
  private readonly actions: ActionRelay
  private readonly renewal: SessionRenewal
  private prefix: string
  private readonly subscriptions = new Map<string | number, SocketSubscription>()
  /** Calls that wait in middleware. */
  private readonly waitingCalls = new Map<string | number, PendingExecution>()
  /** What is sent at the end of the turn. */
  private outgoing: Array<string> = []
  private awaited: FlowControl.AwaitedCommits = FlowControl.nothingAwaited
  /** The rows of the subscriptions, by id, once there were too many for the attachment. */
  private stored: Map<string | number, string> | undefined
  /** The text that was last attached. */
  private attached: string | undefined
  private isClosed = false
  /** Under which keys its caller counts. */
  keys: CallerKeys
  /** Calls that were refused since the last one that was not. */
  private refusals = 0
  /** How many messages were received. */
  private received = 0
  /** When the client was last heard of. Not known while it reads no topic. */
  private receivedAt: number | undefined
  /** Whether it reads topics, or is present: then it matters when its client was heard of. */
  private hasReaders = false
  /** What was last attached of `receivedAt`. */
  private savedSeen = Number.NEGATIVE_INFINITY

  constructor(options: SocketSessionOptions, socket: HostSocket, id: string, session: RequestSession) {
    this.options = options
    this.socket = socket
    this.id = id
    this.identity = JSON.stringify(session.identity)
    this.prefix = attachmentPrefix(id, session)
    this.session = session
    this.caller = callerOf(session, options.ends)
    this.keys = keysOf(session)
    this.actions = new ActionRelay({
      host: options.actions,
      session: () => this.session,
      // While the caller is the same, its newest token counts.
      endOf: (started) =>
        started === this.session || JSON.stringify(started.identity) === this.identity
          ? undefined
          : options.ends.endOf(started),
      send: (message) => options.turn(() => this.isEnded() || this.send(message)),
      after: (millis, task) => options.after(millis, task),
      signOfLife: () => `${this.received} ${socket.pingedAt()}`,
      onChange: () => options.onDirty(this)
    })
    this.renewal = new SessionRenewal({
      host: options.actions,
      session: () => this.session,
      turn: options.turn,
      after: options.after,
      exit: (id, exit) => this.isEnded() || this.exit(id, exit),
      accept: (session) => this.renew(session),
      onChange: () => options.onDirty(this)
    })
  }

  // --- the token

  /**
   * Ends the session if its token has expired or was revoked. Asked before a message is handled and before anything leaves:
   * no timer runs for it. Returns whether the socket is closed.
   */
  isEnded(): boolean {
    if (this.isClosed) return true
    const { ends } = this.options
    const problem = ends.endOf(this.session)
    if (problem === undefined) return false
    // What was answered in this turn, before a mutation revoked the token, still leaves. Frames do not.
    const answers = problem === "revoked" ? this.outgoing.filter((text) => !text.startsWith(chunkStart)) : []
    const isComplete = answers.length === this.outgoing.length
    this.outgoing = answers
    if (ends.becomesAnonymous && isComplete) {
      const { credential, ...session } = this.session
      this.become({ ...session, identity: anonymous })
      this.write(signedOut(problem))
      this.notify()
      return this.isClosed
    }
    this.sendOutgoing()
    this.options.onEnded(this, problem)
    return true
  }

  /** Continues under the session of a new token. Returns the exit of the request that brought it. */
  private renew(session: RequestSession): EncodedExit {
    const { ends, live } = this.options
    const problem = ends.endOf(session)
    if (problem !== undefined) return failed(new Unauthenticated({ problem }))
    this.become(session)
    this.notify()
    live.notify()
    const value: Authenticated = {
      subject: session.identity.subject,
      expires: session.credential?.expires ?? null,
      now: Math.floor(ends.time())
    }
    return { _tag: "Success", value }
  }

  /** Continues as another caller, or with another token. Live queries that depend on the caller get those of the new one. */
  private become(session: RequestSession): void {
    const { ends, live, onRenewed } = this.options
    const identity = JSON.stringify(session.identity)
    const before = this.keys
    const change = () => {
      this.session = session
      this.keys = keysOf(session)
      this.caller = callerOf(session, ends, this.caller.client)
      this.identity = identity
      this.prefix = attachmentPrefix(this.id, session)
    }
    if (identity === this.identity) change()
    else {
      live.changeCaller([...this.subscriptions.values()], change)
      for (const { reader } of this.subscriptions.values()) reader?.callerChanged()
    }
    onRenewed(this, before)
  }

  // --- messages in

  /** Takes the messages of one socket message, in order. */
  receive(messages: ReadonlyArray<FromClientEncoded>): void {
    this.received++
    if (this.hasReaders) this.heard()
    for (const message of messages) {
      if (this.isEnded()) return
      this.handle(message)
      // A flood: what follows is not handled.
      if (this.isClosed) return
    }
  }

  /** The client was heard of, which is saved from time to time. */
  private heard(): void {
    const now = this.options.ends.time()
    this.receivedAt = now
    if (now - this.savedSeen > seenPrecision) this.options.onDirty(this)
  }

  /** Answers requests that are not run with the same exit. */
  refuse(requests: ReadonlyArray<Request>, exit: EncodedExit): void {
    if (this.isEnded()) return
    // Reading it cost as much as a call.
    if (this.isTooMany() !== undefined && this.isClosed) return
    const text = JSON.stringify(exit)
    for (const { id, isNotification } of requests) {
      this.abandon(id)
      if (isNotification !== true) this.write(exitMessage(JSON.stringify(id), text))
    }
  }

  /** Counts a call. Closes the socket when its client goes on although its calls are refused. */
  private isTooMany(): TooMany | undefined {
    const refused = this.options.charge(this)
    this.refusals = refused === undefined ? 0 : this.refusals + 1
    if (refused !== undefined && this.refusals > refusalsBeforeClose) this.options.onFlood(this, refused)
    return refused
  }

  private handle(message: FromClientEncoded): void {
    switch (message._tag) {
      case "Request":
        // An id that is used again means the new request: nothing more is sent for the old one.
        this.abandon(message.id)
        if (this.isRefused(message)) return
        if (message.tag.startsWith(livePrefix)) return this.subscribe(message, message.tag.slice(livePrefix.length))
        if (this.options.isTopic(message.tag)) return this.subscribe(message, accessPrefix + message.tag, true)
        if (message.tag === authenticateTag) return this.renewal.start(message)
        if (this.options.isAction(message.tag)) return this.actions.start(message)
        return this.call(message)
      case "Ack":
        return this.acknowledge(message.requestId, versionOf(message))
      case "Interrupt":
        return this.interrupt(message.requestId)
      case "Ping":
        return this.write(pong)
    }
  }

  private isRefused({ id, isNotification }: Request): boolean {
    const refused = this.isTooMany()
    if (refused !== undefined && isNotification !== true) this.exit(id, tooManyExit(refused))
    return refused !== undefined
  }

  /** Runs a query or a mutation. */
  private call(request: Request): void {
    const { executor } = this.options
    const idText = JSON.stringify(request.id)
    const isNotification = request.isNotification === true
    const decoded = executor.decode(request.tag, request.payload)
    if ("_tag" in decoded) {
      if (!isNotification) this.write(exitMessage(idText, JSON.stringify(decoded)))
      return
    }
    let isAcknowledged = isNotification
    const acknowledge = () => {
      isAcknowledged = true
      this.write(exitMessage(idText, JSON.stringify(done)))
    }
    const { caller } = this
    const call: Call = {
      ...decoded,
      caller,
      headers: headersOf(request),
      requestId: request.id,
      parent: parentOf(request),
      onStart: request.discard === true && !isNotification ? acknowledge : undefined
    }
    const finish = (execution: Execution) => {
      if (!isAcknowledged) this.write(exitMessage(idText, exitText(execution)))
      if (call.headers[mutationHeader] !== undefined) this.committed(idText, execution)
    }
    const started = executor.start(call)
    if (!("execution" in started)) return finish(started)
    this.waitingCalls.set(request.id, started)
    this.options.onDirty(this)
    void started.execution.then((execution) =>
      this.options.turn(() => {
        if (this.waitingCalls.get(request.id) !== started) return
        this.waitingCalls.delete(request.id)
        this.options.onDirty(this)
        if (this.isEnded()) return
        // Its caller's token has ended after the transaction, and another caller is here now.
        if (caller.endOf?.() === undefined) finish(execution)
        else if (!isAcknowledged) this.exit(request.id, lost)
      })
    )
  }

  /** Says which commit a numbered mutation is part of, and then when everything up to it was delivered here. */
  private committed(idText: string, { version = this.options.live.currentVersion }: Execution): void {
    const { live } = this.options
    this.write(`{"_tag":"Committed","requestId":${idText},"version":${version}}`)
    this.awaited = FlowControl.awaitCommit(this.awaited, version)
    this.options.onDirty(this)
    if (live.needsFlush) live.notifyWithFlush(this)
    else this.ackDelivered()
  }

  /** Begins a live query, or to read a topic: then the query is the one that decides whether the caller may. */
  private subscribe(request: Request, tag: string, isTrusted = false): void {
    const { live, readQueryKey } = this.options
    // A notification gets no messages, so its frames could not be sent.
    if (request.isNotification === true) return
    if (request.discard === true) return this.exit(request.id, done)
    const count = this.subscriptions.size + 1
    const { liveQueriesPerSocket } = this.options
    if (count > liveQueriesPerSocket) {
      return this.exit(request.id, limitExceeded("liveQueriesPerSocket", liveQueriesPerSocket, count))
    }
    const asked = isTrusted ? this.options.pubsub?.asked(tag, request.payload) : undefined
    if (asked !== undefined && "_tag" in asked) return this.exit(request.id, asked)
    const key = readQueryKey(tag, {
      payload: asked === undefined ? request.payload : asked.payload,
      headers: request.headers.filter(([name]) => !ownHeaders.has(name.toLowerCase())),
      identity: this.identity,
      isTrusted
    })
    if ("_tag" in key) return this.exit(request.id, key)
    const subscription = new SocketSubscription(this, request.id, key, headerOf(request, promptHeader) !== undefined)
    const actual = Limits.bytesBeyond(subscription.requestText, Limits.sqlite.rowBytes)
    if (actual !== undefined) return this.exit(request.id, limitExceeded("rowBytes", Limits.sqlite.rowBytes, actual))
    subscription.knownHash = headerOf(request, knownHashHeader)
    this.openReader(subscription, key, { after: asked?.after })
    if (subscription.reader !== undefined) this.heard()
    this.subscriptions.set(request.id, subscription)
    this.options.onDirty(this)
    live.subscribe(subscription, key)
    this.notify()
    live.notify()
  }

  private openReader(subscription: SocketSubscription, { payload, tag }: QueryKey, from: From): void {
    if (!tag.startsWith(accessPrefix)) return
    this.hasReaders = true
    const send = (items: ReadonlyArray<string>) => this.write(chunkMessage(subscription.idText, items.join()))
    const progress = (value: number) => {
      // It survives as what is not acknowledged.
      subscription.unacknowledged = value
      this.options.onDirty(this)
    }
    const end = (exit: EncodedExit) => {
      if (this.subscriptions.get(subscription.id) !== subscription) return
      this.unsubscribe(subscription.id)
      this.exit(subscription.id, exit)
    }
    subscription.reader = this.options.pubsub?.open(
      {
        send,
        progress,
        end,
        id: this.id,
        identity: () => this.session.identity,
        seenAt: () => latest(this.receivedAt, this.socket.pingedAt()),
        drop: () => this.options.onGone(this)
      },
      tag,
      payload,
      from
    )
  }

  private acknowledge(id: string | number, version: number | undefined): void {
    if (this.actions.acknowledge(id)) return
    const subscription = this.subscriptions.get(id)
    if (subscription === undefined) return
    if (subscription.reader !== undefined) return subscription.reader.acknowledged()
    // An earlier frame arrived twice, and was acknowledged twice.
    if (version !== undefined && version < subscription.version) return
    subscription.unacknowledged = Math.max(0, subscription.unacknowledged - 1)
    this.setDeadline(subscription)
    this.options.onDirty(this)
    if (this.pending.size === 0 && this.awaited === FlowControl.nothingAwaited) return
    this.notify()
    this.options.live.notify()
  }

  private interrupt(id: string | number): void {
    if (this.actions.interrupt(id) || this.renewal.interrupt(id)) return
    const waiting = this.waitingCalls.get(id)
    if (waiting !== undefined) return waiting.interrupt()
    if (!this.unsubscribe(id)) return
    this.exit(id, interrupted)
    // What was held back for it may be sent now.
    this.notify()
    this.options.live.notify()
  }

  private abandon(id: string | number): void {
    this.unsubscribe(id)
    this.actions.abandon(id)
    this.renewal.abandon(id)
    const waiting = this.waitingCalls.get(id)
    if (waiting === undefined) return
    this.waitingCalls.delete(id)
    waiting.interrupt()
  }

  /** A client that acknowledges on arrival has a deadline while it has not. */
  private setDeadline(subscription: SocketSubscription): void {
    const { deadlines } = this.options
    // What a topic sends waits for acknowledgements by itself.
    if (!subscription.prompt || subscription.reader !== undefined) return
    if (subscription.unacknowledged > 0) deadlines.start(subscription)
    else deadlines.end(subscription)
  }

  private unsubscribe(id: string | number): boolean {
    const subscription = this.subscriptions.get(id)
    if (subscription === undefined) return false
    this.options.live.unsubscribe(subscription)
    this.options.deadlines.end(subscription)
    subscription.reader?.close()
    this.subscriptions.delete(id)
    this.options.onDirty(this)
    this.deleteRow(id)
    return true
  }

  private deleteRow(id: string | number): void {
    if (this.stored?.delete(id)) this.options.rows.delete(this.id, JSON.stringify(id))
  }

  /** The socket closed: ends everything that belongs to it. */
  close(): void {
    this.isClosed = true
    for (const subscription of this.subscriptions.values()) {
      this.options.live.unsubscribe(subscription)
      this.options.deadlines.end(subscription)
      subscription.reader?.close()
    }
    this.subscriptions.clear()
    for (const { interrupt } of this.waitingCalls.values()) interrupt()
    this.waitingCalls.clear()
    this.actions.close()
    this.renewal.close()
    this.outgoing = []
    if (this.stored !== undefined) this.options.rows.deleteAll(this.id)
  }

  // --- messages out

  /** Sends the newest results of the subscriptions that may be sent one; while a flush is under way, when it ends. */
  notify(): void {
    const { live } = this.options
    if (live.isFlushing) return live.notifyWithFlush(this)
    if (this.isEnded()) return
    for (const subscription of this.pending) {
      // A result that was held back before hibernation is lost: run the query again.
      live.refresh(subscription.query)
      if (live.isFlushing) return live.notifyWithFlush(this)
      if (!subscription.isDue) this.take(subscription)
    }
    const due = [...this.pending]
    const { now, waiting } = FlowControl.sendable(due.filter(({ reader }) => reader === undefined))
    for (const subscription of now) this.sendResult(subscription)
    // Who may not read a topic any more does not wait for an acknowledgement.
    for (const subscription of due) if (subscription.reader !== undefined) this.sendResult(subscription)
    for (const subscription of waiting) {
      if (subscription.waiting) continue
      subscription.waiting = true
      this.options.onDirty(this)
    }
    this.ackDelivered()
  }

  private take(subscription: SocketSubscription): void {
    this.pending.delete(subscription)
    if (!subscription.waiting) return
    subscription.waiting = false
    this.options.onDirty(this)
  }

  /** Sends the newest result of a query, as a patch of the one before where that is smaller. */
  private sendResult(subscription: SocketSubscription): void {
    this.take(subscription)
    const { query } = subscription
    if (query.failure !== undefined) {
      this.unsubscribe(subscription.id)
      return this.exit(subscription.id, query.failure)
    }
    const { result } = query
    // A subscription that is due and whose query has not failed has a result.
    if (result === undefined) return
    const { idText, reader } = subscription
    if (reader !== undefined) {
      subscription.sent = result.hash
      subscription.base = result
      this.options.onDirty(this)
      return reader.granted()
    }
    // A result may be older than frames of other queries: each frame has the version up to which it holds when it is sent.
    const version = this.options.live.flushedVersion
    const messages =
      subscription.knownHash === result.hash
        ? result.currentFrame(version).messages(idText)
        : result.messagesFrom(subscription.base, idText, version)
    subscription.knownHash = undefined
    subscription.version = version
    subscription.sent = result.hash
    subscription.base = result
    this.options.onDirty(this)
    for (const text of messages) {
      subscription.unacknowledged++
      this.options.live.countFrame(query, text.length)
      this.write(text)
    }
    this.setDeadline(subscription)
  }

  /** Sends `Delivered`, with the version up to which everything was sent to this socket, if a commit is awaited. */
  private ackDelivered(): void {
    if (this.awaited === FlowControl.nothingAwaited) return
    let version = this.options.live.flushedVersion
    for (const { base } of this.pending) version = Math.min(version, base?.version ?? 0)
    const { awaited, tell } = FlowControl.delivered(this.awaited, version)
    if (!tell) return
    this.write(`{"_tag":"Delivered","version":${version}}`)
    this.awaited = awaited
    this.options.onDirty(this)
  }

  private exit(id: string | number, exit: EncodedExit): void {
    this.write(exitMessage(JSON.stringify(id), JSON.stringify(exit)))
  }

  private send(message: FromServerEncoded): void {
    this.write(encodeMessage(message, this.options.limits))
  }

  private write(text: string): void {
    if (this.outgoing.length === 0) this.options.onOutput(this)
    this.outgoing.push(text)
  }

  /** Sends what was collected in this turn: as one message, or as few as the limit allows. */
  flushOutput(): void {
    // The clock of a Durable Object stands still in a turn; another one may have passed the expiry meanwhile.
    if (this.outgoing.length > 0 && this.options.ends.endOf(this.session) === "expired") {
      this.options.onEnded(this, "expired")
    } else this.sendOutgoing()
  }

  private sendOutgoing(): void {
    const texts = this.outgoing
    if (texts.length === 0) return
    this.outgoing = []
    if (texts.length === 1) return this.socket.send(texts[0]!)
    // A character takes at most three bytes: they are counted only when it matters.
    const isSmall = texts.reduce((sum, text) => sum + text.length + 2, 0) * 3 <= Limits.socketMessageBytes
    if (isSmall) return this.socket.send(`[${texts.join(",")}]`)
    let batch: Array<string> = []
    let bytes = 0
    const sendBatch = () => {
      if (batch.length > 0) this.socket.send(batch.length === 1 ? batch[0]! : `[${batch.join(",")}]`)
      batch = []
      bytes = 2
    }
    for (const text of texts) {
      const more = encoder.encode(text).length + 1
      if (bytes + more > Limits.socketMessageBytes) sendBatch()
      batch.push(text)
      bytes += more
    }
    sendBatch()
  }

  // --- what survives hibernation

  /**
   * Saves what must survive hibernation. Returns how many rows it wrote; when that is `maxRows`, more may be left, and it must
   * be called again: until the last row is written, the socket keeps what was attached before.
   */
  save(maxRows: number): number {
    if (this.isClosed) return 0
    const subscriptions = [...this.subscriptions.values()]
    const { hasProgress, overflowed, text } = encodeAttachment(this.prefix, {
      version: this.options.live.currentVersion,
      awaited: this.awaited,
      calls: [...this.actions.ids, ...this.renewal.ids, ...this.waitingCalls.keys()],
      seen: this.hasReaders ? this.receivedAt : undefined,
      subscriptions,
      overflowed: this.stored !== undefined
    })
    // A subscription under a reused id can look like the one before it, and has no row.
    const isStored = this.stored === undefined || this.stored.size === subscriptions.length
    if (hasProgress && isStored && text === this.attached) return 0
    if (!fits(text)) {
      this.socket.close(1009, `limit socketAttachmentBytes is ${Limits.socketAttachmentBytes}`)
      return 0
    }
    const rows = overflowed ? this.store(subscriptions, hasProgress, maxRows) : 0
    if (rows === maxRows || text === this.attached) return rows
    this.socket.attach(text)
    this.attached = text
    this.savedSeen = this.receivedAt ?? this.savedSeen
    return rows
  }

  /**
   * Writes rows for the subscriptions that have none. Progress is written to them only when the attachment has no room for
   * it, and only where it changed: rows are paid for.
   */
  private store(subscriptions: ReadonlyArray<SocketSubscription>, hasProgress: boolean, maxRows: number): number {
    this.stored ??= new Map()
    let rows = 0
    for (const subscription of subscriptions) {
      const { id, idText, requestText } = subscription
      const before = this.stored.get(id)
      const text = hasProgress ? (before ?? requestText) : rowWithProgress(subscription)
      if (text === before) continue
      if (rows === maxRows) break
      this.options.rows.write(this.id, idText, text)
      this.stored.set(id, text)
      rows++
    }
    return rows
  }

  /** Takes up what was saved before the object left memory. `readQueryKey` reads the keys of many sockets at once. */
  restore({ awaited, calls, progress, seen, subscriptions, version }: Attachment, readQueryKey: ReadQueryKey): void {
    this.receivedAt = seen
    const { live, rows } = this.options
    live.atLeast(version)
    this.awaited = awaited[0] === 0 ? FlowControl.nothingAwaited : awaited
    const progressById = new Map(progress?.map(([id, ...rest]) => [id, rest]))
    const stored = subscriptions === null ? rows.load(this.id) : undefined
    this.stored = stored?.texts
    const requests: ReadonlyArray<SubscriptionRow> = subscriptions ?? stored?.subscriptions ?? []
    for (const { headers, id, payload, progress: own, prompt, tag } of requests) {
      const isTrusted = tag.startsWith(accessPrefix)
      const key = readQueryKey(tag, { payload, headers, identity: this.identity, isTrusted })
      if ("_tag" in key) {
        // The app was deployed again meanwhile, and has no such query any more or does not take this payload. Its row would
        // be refused again at every wake, and be taken for that of a later request with its id.
        this.exit(id, key)
        this.deleteRow(id)
        this.options.onDirty(this)
        continue
      }
      const subscription = new SocketSubscription(this, id, key, prompt)
      // The rows may have progress from a time when it did not fit the attachment. If none is known, the result counts as
      // not sent.
      const [sent, unacknowledged, waiting] = (progress === null ? own : progressById.get(id)) ?? [null, 0, true]
      subscription.sent = sent ?? undefined
      subscription.unacknowledged = unacknowledged
      subscription.waiting = waiting
      this.openReader(subscription, key, { progress: unacknowledged })
      if (sent !== null) subscription.reader?.restored(unacknowledged)
      if (waiting) this.pending.add(subscription)
      this.setDeadline(subscription)
      this.subscriptions.set(id, subscription)
      live.restore(subscription, key)
    }
    for (const id of stored?.lost ?? []) {
      this.deleteRow(id)
      this.exit(id, lost)
    }
    for (const id of calls) this.exit(id, lost)
    if (calls.length > 0) this.options.onDirty(this)
  }
}

/** Milliseconds by which the time may be wrong that is kept of when a client was heard of. */
const seenPrecision = 5_000

/** Calls in a row that are refused before the socket is closed: a client that waits for answers sees the first of them. */
const refusalsBeforeClose = 100

/** The caller of all calls of a session. Without `ends` its token does not end. */
export const callerOf = (
  session: RequestSession,
  ends?: SessionEnds,
  client: ServerClient = new ServerClient(nextClient++)
): Caller => {
  const { identity, tenant } = session
  return { identity, client, annotations: { tenant, subject: identity.subject }, endOf: ends?.watch(session) }
}
let nextClient = 0

const latest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)

/** How the texts of frames begin. */
const chunkStart = '{"_tag":"Chunk"'

/** Headers that are meant for live queries, and that middleware does not see. */
const ownHeaders: ReadonlySet<string> = new Set([knownHashHeader, promptHeader])

/** The headers of a request, as handlers and middleware see them. */
export const headersOf = ({ headers }: Request): Headers.Headers =>
  headers.length === 0 ? Headers.empty : Headers.fromInput(headers)

const headerOf = ({ headers }: Request, name: string): string | undefined =>
  headers.find(([key]) => key.toLowerCase() === name)?.[1]

/** The version of the frame that an `Ack` is for, if it says so. */
const versionOf = (message: object): number | undefined =>
  "version" in message && typeof message.version === "number" ? message.version : undefined

const encoder = new TextEncoder()
