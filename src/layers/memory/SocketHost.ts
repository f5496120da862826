/**
 * The `SocketHost` port in memory: sockets that outlive the heap.
 * Attachments are limited to the size that the platform allows.
 */
import * as Limits from "../../protocol/Limits.ts"
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"

/** A socket as the platform would keep it: it lives as long as the connection. */
export interface MemorySocket {
  /** The value that was last attached. */
  attachment: unknown
  /** When its last ping was answered, in milliseconds. */
  readonly pingedAt: number | undefined
  readonly send: (text: string) => void
  readonly close: (code: number, reason: string) => void
}

/** The sockets of one heap. */
export class MemorySockets {
  /** The port. */
  readonly service: SocketHost["Service"]
  private readonly handles = new WeakMap<MemorySocket, HostSocket>()
  private readonly output: (send: () => void) => void

  /** `output` runs each send; a caller can delay it until a commit. */
  constructor(open: () => Iterable<MemorySocket>, output: (send: () => void) => void) {
    this.output = output
    this.service = {
      sockets: () => Array.from(open(), (socket) => this.of(socket)),
      newId: () => crypto.randomUUID()
    }
  }

  /** The handle of a socket. The same socket always has the same handle within one heap. */
  of(socket: MemorySocket): HostSocket {
    let handle = this.handles.get(socket)
    if (handle === undefined) {
      handle = {
        send: (text) => this.output(() => socket.send(text)),
        close: (code, reason) => this.output(() => socket.close(code, reason)),
        pingedAt: () => socket.pingedAt,
        attachment: () => socket.attachment,
        attach: (value) => {
          const bytes = JSON.stringify(value).length
          if (bytes > Limits.socketAttachmentBytes) {
            throw new Error(`an attachment has at most ${Limits.socketAttachmentBytes} bytes, got ${bytes}`)
          }
          socket.attachment = structuredClone(value)
        }
      }
      this.handles.set(socket, handle)
    }
    return handle
  }
}
