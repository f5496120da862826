/**
 * The `SocketHost` port of a Durable Object: its sockets are accepted for hibernation.
 * The platform keeps a socket and its attachment while the object is not in memory.
 */
/// <reference types="@cloudflare/workers-types" />
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"

/** The part of a Durable Object's state that is used here. */
export interface SocketState {
  readonly acceptWebSocket: (socket: WebSocket) => void
  readonly getWebSockets: () => ReadonlyArray<WebSocket>
}

/** The sockets of one object. */
export class CloudflareSockets {
  /** The port. */
  readonly service: SocketHost["Service"]
  private readonly state: SocketState
  private readonly sockets = new WeakMap<WebSocket, HostSocket>()

  constructor(state: SocketState) {
    this.state = state
    this.service = {
      sockets: () => state.getWebSockets().map((webSocket) => this.of(webSocket)),
      newId: () => crypto.randomUUID()
    }
  }

  /** Accepts the server's end of a new socket. */
  accept(webSocket: WebSocket): HostSocket {
    this.state.acceptWebSocket(webSocket)
    return this.of(webSocket)
  }

  /** The handle of a platform socket. The same socket always has the same handle. */
  of(webSocket: WebSocket): HostSocket {
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
        attachment: () => webSocket.deserializeAttachment(),
        attach: (value) => webSocket.serializeAttachment(value)
      }
      this.sockets.set(webSocket, socket)
    }
    return socket
  }
}
