/**
 * The sockets of an object: reads their messages and puts them in the queue.
 * After hibernation it restores their sessions; before hibernation it saves them.
 */
import * as Option from "effect/Option"
import type { FromClientEncoded } from "effect/rpc/RpcMessage"
import * as Limits from "../../protocol/Limits.ts"
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"
import { decodeText, isRequest, OverLimit, readMessages } from "../rpc/HttpBody.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { AckDeadlines, ackTimeout } from "./AckDeadlines.ts"
import { type ReadQueryKey, SocketSession, type SocketSessionOptions } from "./SocketSession.ts"
import { attachmentDecoder } from "./SubscriptionStore.ts"
import type { TurnQueue } from "./TurnQueue.ts"

/** What the sockets of an object work with. */
export interface SocketHubOptions extends Omit<SocketSessionOptions, "onOutput" | "onDirty" | "turn" | "deadlines"> {
  readonly host: SocketHost["Service"]
  readonly turns: TurnQueue
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

/** A close code and its reason. */
type Close = readonly [code: number, reason: string]

/** The sockets of one object. */
export class SocketHub {
  private readonly options: SocketHubOptions
  private readonly sessionOptions: SocketSessionOptions
  private readonly sessions = new Map<HostSocket, SocketSession>()
  /** Sessions with something to send at the end of the turn. */
  private output: Array<SocketSession> = []
  /** Sockets that were closed for a message: what they have sent before the close is complete still arrives. */
  private readonly dropped = new WeakSet<HostSocket>()
  /** Sessions with something to save. */
  private dirty = new Set<SocketSession>()

  constructor(options: SocketHubOptions) {
    this.options = options
    this.sessionOptions = {
      ...options,
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
      onDirty: (session) => this.scheduleSave(session)
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

  /** A new socket. */
  open(socket: HostSocket, session: RequestSession): void {
    const opened = new SocketSession(this.sessionOptions, socket, this.options.host.newId(), session)
    this.sessions.set(socket, opened)
    this.save(opened)
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
    this.sessions.get(socket)?.close()
    this.sessions.delete(socket)
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
    const sessions = this.dirty
    this.dirty = new Set()
    for (const session of sessions) this.save(session)
  }

  /** Saves a session. If the platform or the database refuses, closes its socket so that the client reconnects. */
  private save(session: SocketSession): void {
    try {
      session.save()
    } catch (cause) {
      this.options.log("the state of a socket could not be saved", cause)
      session.closeUnsaved()
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
    this.sessions.set(socket, restored)
    this.options.turns.run(() => restored.restore(attachment.value, readQueryKey))
    return restored
  }
}

const noAck = `no acknowledgement of a frame within ${ackTimeout / 1000} s`
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
