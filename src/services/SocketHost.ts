/**
 * The port for sockets that outlive the heap: what a platform must supply for live queries to survive hibernation.
 */
import * as Context from "effect/Context"

/** One client's socket, as the platform keeps it. It outlives the heap, and so does its attachment. */
export interface HostSocket {
  /** Sends a message. A message to a closed socket is dropped without an error. */
  readonly send: (text: string) => void
  readonly close: (code: number, reason: string) => void
  /** The value that was last attached, or `null`. */
  readonly attachment: () => unknown
  /** Attaches a value of at most `Limits.socketAttachmentBytes`. */
  readonly attach: (value: unknown) => void
}

export class SocketHost extends Context.Service<
  SocketHost,
  {
    /** The open sockets, those from before hibernation included. */
    readonly sockets: () => Iterable<HostSocket>
    /** An id that no other socket has. */
    readonly newId: () => string
  }
>()("effect-dormouse/services/SocketHost") {}
