/**
 * The sockets of a Durable Object, accepted for hibernation: the platform keeps them, and what is attached to them.
 */
/// <reference types="@cloudflare/workers-types" />
import type { HostSocket, SocketHost } from "../../services/SocketHost.ts"

/** What is used of a Durable Object's state. */
export interface SocketState {
  readonly acceptWebSocket: (socket: WebSocket) => void
  readonly getWebSockets: () => ReadonlyArray<WebSocket>
}

/** The sockets of one object, by the platform's own. */
export class CloudflareSockets {
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

  /** The same object for the same socket each time. */
  of(webSocket: WebSocket): HostSocket {
    let socket = this.sockets.get(webSocket)
    if (socket === undefined) {
      socket = {
        send: (text) => {
          try {
            webSocket.send(text)
          } catch {
            // It has closed; `webSocketClose` follows.
          }
        },
        close: (code, reason) => webSocket.close(code, reason),
        attachment: () => webSocket.deserializeAttachment(),
        attach: (value) => webSocket.serializeAttachment(value)
      }
      this.sockets.set(webSocket, socket)
    }
    return socket
  }
}
