import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type { Identity } from "../contract/Auth.ts"
import type { Request } from "../protocol/Messages.ts"

/** One client's socket, as the platform keeps it: it outlives the heap, and so does its attachment. */
export interface Socket {
  /** Sends a message. What a closed socket was sent is lost, and says nothing. */
  readonly send: (text: string) => void
  readonly close: (code: number, reason: string) => void
  /** What was last remembered with the socket, or `null`. */
  readonly attachment: () => unknown
  /** Remembers a value of at most `Limits.socketAttachmentBytes`. */
  readonly attach: (value: unknown) => void
}

/** What the engine asks of the place it runs in. */
export interface Host {
  /** The open sockets, those from before a sleep included. */
  readonly sockets: () => Iterable<Socket>
  /** Runs the task soon: after what was committed is durable and after the answers that were given have left. */
  readonly afterCommit: (task: () => void) => void
  /** Runs the task in a later turn, after what was sent in this one has left, and before the object can sleep. */
  readonly soon: (task: () => void) => void
  /** Has an action run where I/O is done, and gives its messages as they come. */
  readonly act: (request: Request, caller: Session, signal: AbortSignal) => AsyncIterable<FromServerEncoded>
  /** Milliseconds. */
  readonly now: () => number
  /** An id that no other socket has. */
  readonly socketId: () => string
}

/** What a socket was opened with. */
export interface Session {
  readonly tenant: string
  readonly identity: Identity
}
