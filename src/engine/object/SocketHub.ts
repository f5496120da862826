/**
 * The sockets of an object: reads their messages and puts them in the queue.
 * After hibernation it restores their sessions; before hibernation it saves them.
 */
import * as Option from "effect/Option"
import type { FromClientEncoded } from "effect/rpc/RpcMessage"
import type { CallerLimits } from "../../protocol/CallerLimits.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"
import { type CallRates, describeTooMany, keysOf, type TooMany } from "../rpc/CallRates.ts"
import { decodeText, isRequest, OverLimit, readMessages } from "../rpc/HttpBody.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { AckDeadlines, ackTimeout } from "./AckDeadlines.ts"
import { SocketCounts } from "./SocketCounts.ts"
import { type ReadQueryKey, SocketSession, type SocketSessionOptions } from "./SocketSession.ts"
import { attachmentDecoder } from "./SubscriptionStore.ts"
import type { TurnQueue } from "./TurnQueue.ts"

/** What the sockets of an object work with. */
export interface SocketHubOptions
  extends Omit<
    SocketSessionOptions,
    | "onOutput"
    | "onDirty"
    | "onRenewed"
    | "onEnded"
    | "turn"
    | "deadlines"
    | "charge"
    | "onFlood"
    | "onGone"
    | "liveQueriesPerSocket"
  > {
  readonly rates: CallRates
  readonly callerLimits: CallerLimits
  readonly host: SocketHost["Service"]
  readonly turns: TurnQueue
  /** Runs a task in a later turn. */
  readonly defer: (task: () => void) => void
  /** Runs a task when the object is idle, before it can hibernate. */
  readonly whenIdle: (task: () => void) => void
  /** Runs a task after some milliseconds, and keeps the object awake until then. Returns what cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  readonly now: () => number
  /** Whether a tag is a mutation's. */
  readonly isMutation: (tag: string) => boolean
  /** Logs that the state of a socket could not be saved or deleted. */
  readonly log: (message: string, cause: unknown) => void
}

/** Caches for restoring many sockets, which often have the same subscriptions. */
interface RestoreCache {
  readonly decode: ReturnType<typeof attachmentDecoder>
  readonly readQueryKey: ReadQueryKey
}

/** Rows that are written in one turn to save sessions: that takes a few milliseconds, and calls are handled between the turns. */
const rowsPerSave = 200

/** A close code and its reason. */
type Close = readonly [code: number, reason: string]

/** The sockets of one object. */
export class SocketHub {
  private readonly options: SocketHubOptions
  private readonly sessionOptions: SocketSessionOptions
  private readonly counts: SocketCounts
  private readonly sessions = new Map<HostSocket, SocketSession>()
  /** Sessions with something to send at the end of the turn. */
  private output: Array<SocketSession> = []
  /** Sockets that were closed for a message: what they have sent before the close is complete still arrives. */
  private readonly dropped = new WeakSet<HostSocket>()
  /** Sessions with something to save. */
  private dirty = new Set<SocketSession>()

  constructor(options: SocketHubOptions) {
    this.options = options
    this.counts = new SocketCounts(options.callerLimits)
    this.sessionOptions = {
      ...options,
      liveQueriesPerSocket: options.callerLimits.liveQueriesPerSocket,
      charge: ({ keys }) => options.rates.charge(keys, 1, options.now()),
      onFlood: ({ socket }, refused) => this.drop(socket, [1013, describeTooMany(refused)]),
      onGone: ({ socket }) => options.turns.run(() => this.drop(socket, [1001, "nothing was heard of the client"])),
      deadlines: new AckDeadlines({
        now: options.now,
        whenIdle: options.whenIdle,
        after: options.after,
        onMissed: ({ session }) => {
          // Another subscription of the same socket may have missed its deadline, too.
          if (this.sessions.get(session.socket) !== session) return
          options.turns.run(() => this.drop(session.socket, [1011, noAck]))
        }
      }),
      turn: (body) => options.turns.run(body),
      onOutput: (session) => this.output.push(session),
      onDirty: (session) => this.scheduleSave(session),
      onRenewed: (session, before) => {
        this.counts.closed(before)
        this.counts.opened(session.keys)
        this.saveRenewed(session)
      },
      onEnded: ({ socket }, problem) => this.drop(socket, [unauthenticated, `unauthenticated: ${problem}`])
    }
  }

  /** Restores the sessions of the sockets that are open. */
  restoreAll(): void {
    const cache = this.restoreCache()
    for (const socket of this.options.host.sockets()) this.restore(socket, cache)
    // The first answer does not wait for it.
    this.options.whenIdle(() => {
      try {
        this.options.rows.deleteOrphans(new Set([...this.sessions.values()].map(({ id }) => id)))
      } catch (cause) {
        this.options.log("the state of closed sockets could not be deleted", cause)
      }
    })
  }

  /** Why a caller cannot open a socket. Opening one counts as a call. */
  refusal(session: RequestSession): TooMany | undefined {
    const keys = keysOf(session)
    return this.counts.refusal(keys) ?? this.options.rates.charge(keys, 1, this.options.now())
  }

  /** A new socket. */
  open(socket: HostSocket, session: RequestSession): void {
    const opened = new SocketSession(this.sessionOptions, socket, this.options.host.newId(), session)
    this.add(opened)
    this.save(opened, rowsPerSave)
    // The Worker does not know what was revoked.
    if (this.options.ends.endOf(session) !== undefined) this.options.turns.run(() => opened.isEnded())
  }

  /** Ends the sessions whose tokens have expired or were revoked. */
  endSessions(): void {
    for (const session of [...this.sessions.values()]) session.isEnded()
  }

  /** A message of a socket. */
  message(socket: HostSocket, data: string | ArrayBuffer): void {
    // First: of a flood of messages nearly all arrive after the close, and other sockets wait for them.
    if (this.dropped.has(socket)) return
    const session = this.sessions.get(socket) ?? this.restore(socket, this.restoreCache())
    if (session === undefined) return
    const messages = this.read(data)
    const refused = this.options.turns.submit({
      source: session,
      mayCommit: isMessages(messages) && messages.some((message) => this.mayCommit(message)),
      data,
      run: () => {
        if (this.sessions.get(socket) !== session) return
        const isRead = isMessages(messages)
        if (!isRead && !(messages instanceof OverLimit)) return this.drop(socket, messages)
        try {
          if (isRead) session.receive(messages)
          else session.refuse(messages.messages.filter(isRequest), messages.exit)
        } catch (cause) {
          // Close the socket: its client reconnects instead of waiting for an answer.
          this.drop(socket, [1011, "the server could not answer; the cause is in its log"])
          throw cause
        }
      }
    })
    if (refused !== undefined) this.drop(socket, [1013, Limits.describe(refused, this.options.limits[refused])])
  }

  /**
   * Closes a socket for a message that is not handled. Messages still arrive until the close is complete; if they were
   * handled, one in the middle would be missing. Without its attachment the socket is not restored for them, also when the
   * object leaves memory meanwhile.
   */
  private drop(socket: HostSocket, close: Close): void {
    this.dropped.add(socket)
    try {
      this.closed(socket)
      socket.attach(null)
    } catch (cause) {
      this.options.log("the state of a socket could not be deleted", cause)
    } finally {
      socket.close(...close)
    }
  }

  /** Closes all sockets, those as well that were opened before hibernation. Nothing more is sent to them or taken of them. */
  closeAll(close: Close): void {
    for (const socket of this.options.host.sockets()) this.drop(socket, close)
    this.dirty.clear()
  }

  /** A socket closed. */
  closed(socket: HostSocket): void {
    const { pubsub } = this.options
    // It closed during hibernation: who was here by it must be seen to go.
    const isUnknown = pubsub !== undefined && !this.dropped.has(socket)
    const session = this.sessions.get(socket) ?? (isUnknown ? this.restore(socket, this.restoreCache()) : undefined)
    if (session === undefined) return
    this.sessions.delete(socket)
    this.counts.closed(session.keys)
    session.close()
  }

  private add(session: SocketSession): void {
    this.sessions.set(session.socket, session)
    this.counts.opened(session.keys)
  }

  /** Sends what the sessions collected in this turn. */
  flushOutput(): void {
    const sessions = this.output
    this.output = []
    for (const session of sessions) session.flushOutput()
  }

  /** The messages in what a socket sent, or how to close a socket that sent something else. */
  private read(data: string | ArrayBuffer): Read {
    const text = typeof data === "string" ? data : decodeText(data)
    if (text === undefined) return [1007, "not UTF-8"]
    const messages = readMessages(text, this.options.limits)
    if (messages instanceof OverLimit) {
      // Nothing but requests can be answered: an acknowledgement that is not handled would hold back a live query.
      const isAnswered = messages.messages.length > 0 && messages.messages.every(isRequest) && !text.endsWith("\n")
      if (isAnswered) return messages
      return [messages.limit === "requestBytes" ? 1009 : 1008, Limits.describe(messages.limit, messages.max)]
    }
    // A client that ends its messages with a newline waits for answers that end so: it would wait forever.
    return messages === undefined || text.endsWith("\n") ? [1007, notMessages] : messages
  }

  private mayCommit(message: FromClientEncoded): boolean {
    return message._tag === "Request" && this.options.isMutation(message.tag)
  }

  /** Saves a session before the object can hibernate, once for all changes until then. */
  private scheduleSave(session: SocketSession): void {
    this.dirty.add(session)
    this.options.whenIdle(this.saveDirty)
  }

  private readonly saveDirty = (): void => {
    let left = rowsPerSave
    for (const session of this.dirty) {
      left -= this.save(session, left)
      if (left === 0) return this.options.defer(this.saveDirty)
      this.dirty.delete(session)
    }
  }

  /**
   * Saves a session, with at most so many rows; returns how many it wrote. If the platform or the database refuses, closes its
   * socket so that the client reconnects.
   */
  private save(session: SocketSession, maxRows: number): number {
    try {
      return session.save(maxRows)
    } catch (cause) {
      this.options.log("the state of a socket could not be saved", cause)
      session.socket.close(...unsaved)
      return 0
    }
  }

  /** Saves a session of another caller. If that fails, no message of the socket is handled any more. */
  private saveRenewed(session: SocketSession): void {
    try {
      // Nothing may leave under the new session before it is saved: all at once.
      session.save(Number.POSITIVE_INFINITY)
    } catch (cause) {
      this.options.log("the state of a socket could not be saved", cause)
      this.drop(session.socket, unsaved)
    }
  }

  private restoreCache(): RestoreCache {
    return { decode: attachmentDecoder(), readQueryKey: memoizeByRequest(this.options.readQueryKey) }
  }

  private restore(socket: HostSocket, { decode, readQueryKey }: RestoreCache): SocketSession | undefined {
    const attachment = decode(socket.attachment())
    if (Option.isNone(attachment)) {
      socket.close(1011, "this socket is not known any more")
      return undefined
    }
    const { id, session } = attachment.value
    const restored = new SocketSession(this.sessionOptions, socket, id, session)
    this.add(restored)
    this.options.turns.run(() => {
      restored.restore(attachment.value, readQueryKey)
      restored.isEnded()
    })
    return restored
  }
}

/** The close code for a token that is not accepted (any more). */
const unauthenticated = 4401

const noAck = `no acknowledgement of a frame within ${ackTimeout / 1000} s`
const unsaved: Close = [1011, "the server could not save the state of this socket; the cause is in its log"]
const notMessages = "not messages of effect/rpc as JSON: use RpcSerialization.layerJson"

type Read = ReadonlyArray<FromClientEncoded> | OverLimit | Close

const isMessages = (read: Read): read is ReadonlyArray<FromClientEncoded> =>
  !(read instanceof OverLimit) && typeof read[0] !== "number"

/** Thousands of sockets may have made the same request: its key is read once. */
const memoizeByRequest = (readQueryKey: ReadQueryKey): ReadQueryKey => {
  const known = new Map<string, ReturnType<ReadQueryKey>>()
  return (tag, request) => {
    const text = JSON.stringify([tag, request])
    let key = known.get(text)
    if (key === undefined) {
      key = readQueryKey(tag, request)
      known.set(text, key)
    }
    return key
  }
}
