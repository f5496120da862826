/**
 * Sockets in memory that outlive the heap behind them, with attachments of the platform's size.
 */
import * as Limits from "../../protocol/Limits.ts"
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"

/** The platform's side of one socket. It lives as long as the connection. */
export interface MemorySocket {
  /** What is attached to it. */
  attachment: unknown
  readonly send: (text: string) => void
  readonly close: (code: number, reason: string) => void
}

/** The sockets of one heap, over those that the platform keeps. */
export class MemorySockets {
  readonly service: SocketHost["Service"]
  private readonly handles = new Map<MemorySocket, HostSocket>()
  private readonly output: (send: () => void) => void

  /** `output` runs what leaves the heap, for who holds it back until a commit. */
  constructor(open: () => Iterable<MemorySocket>, output: (send: () => void) => void) {
    this.output = output
    this.service = {
      sockets: () => Array.from(open(), (socket) => this.of(socket)),
      newId: () => crypto.randomUUID()
    }
  }

  /** The same object for the same socket each time. */
  of(socket: MemorySocket): HostSocket {
    let handle = this.handles.get(socket)
    if (handle === undefined) {
      handle = {
        send: (text) => this.output(() => socket.send(text)),
        close: (code, reason) => this.output(() => socket.close(code, reason)),
        attachment: () => socket.attachment,
        attach: (value) => {
          const bytes = JSON.stringify(value).length
          if (bytes > Limits.socketAttachmentBytes) {
            throw new Error(`an attachment holds ${Limits.socketAttachmentBytes} bytes`)
          }
          socket.attachment = structuredClone(value)
        }
      }
      this.handles.set(socket, handle)
    }
    return handle
  }
}
