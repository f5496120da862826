/**
 * The port for sockets that outlive the heap.
 * A platform implements it so that live queries survive hibernation.
 */
import * as Context from "effect/Context"

/** A client's socket. The socket and its attachment outlive the heap. */
export interface HostSocket {
  /** Sends a message. If the socket is closed, the message is dropped without an error. */
  readonly send: (text: string) => void
  /** Closes the socket. */
  readonly close: (code: number, reason: string) => void
  /** When the platform last answered a ping of the client, in milliseconds. `undefined` if it never did. */
  readonly pingedAt: () => number | undefined
  /** The value that was last attached, or `null`. */
  readonly attachment: () => unknown
  /** Attaches a value of at most `Limits.socketAttachmentBytes`. */
  readonly attach: (value: unknown) => void
}

/** The sockets of one object. */
export class SocketHost extends Context.Service<
  SocketHost,
  {
    /** The open sockets, including those that were opened before hibernation. */
    readonly sockets: () => Iterable<HostSocket>
    /** A new id, unique among sockets. */
    readonly newId: () => string
  }
>()("effect-dormouse/services/SocketHost") {}
