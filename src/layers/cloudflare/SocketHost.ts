/**
 * The `SocketHost` port of a Durable Object: its sockets are accepted for hibernation.
 * The platform keeps a socket and its attachment while the object is not in memory.
 */
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"

/** A socket of an object, which survives hibernation: the platform's `WebSocket`. */
export interface ObjectSocket {
  send(message: string | ArrayBuffer): void
  close(code?: number, reason?: string): void
  serializeAttachment(attachment: any): void
  deserializeAttachment(): any
}

/** The part of a Durable Object's state that is used here. */
export interface SocketState {
  readonly acceptWebSocket: (socket: ObjectSocket) => void
  readonly getWebSockets: () => ReadonlyArray<ObjectSocket>
  readonly getWebSocketAutoResponseTimestamp: (socket: ObjectSocket) => Date | null
}

/** The sockets of one object. */
export class CloudflareSockets {
  /** The port. */
  readonly service: SocketHost["Service"]
  private readonly state: SocketState
  private readonly sockets = new WeakMap<ObjectSocket, HostSocket>()

  constructor(state: SocketState) {
    this.state = state
    this.service = {
      sockets: () => state.getWebSockets().map((webSocket) => this.of(webSocket)),
      newId: () => crypto.randomUUID()
    }
  }

  /** Accepts the server's end of a new socket. */
  accept(webSocket: ObjectSocket): HostSocket {
    this.state.acceptWebSocket(webSocket)
    return this.of(webSocket)
  }

  /** The handle of a platform socket. The same socket always has the same handle. */
  of(webSocket: ObjectSocket): HostSocket {
    let socket = this.sockets.get(webSocket)
    if (socket === undefined) {
      socket = {
        send: (text) => {
          try {
            webSocket.send(text)
          } catch {
            // The socket is closed; the platform calls `webSocketClose` next.
          }
        },
        close: (code, reason) => {
          try {
            webSocket.close(code, reason)
          } catch {
            // It is closed already.
          }
        },
        pingedAt: () => this.state.getWebSocketAutoResponseTimestamp(webSocket)?.getTime(),
        attachment: () => webSocket.deserializeAttachment(),
        attach: (value) => webSocket.serializeAttachment(value)
      }
      this.sockets.set(webSocket, socket)
    }
    return socket
  }
}
