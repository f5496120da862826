/**
 * The worker of `pubsub.ts`: an object that sends what a socket publishes to all its sockets, written by hand. The publisher is
 * answered first.
 */
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers"

export class TenantObject extends DurableObject {
  override fetch(): Response {
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server)
    return new Response(null, { status: 101, webSocket: client })
  }

  override webSocketMessage(socket: WebSocket, data: string): void {
    const { id, message } = JSON.parse(data)
    socket.send(JSON.stringify({ id }))
    const text = JSON.stringify({ message })
    for (const reader of this.ctx.getWebSockets()) reader.send(text)
  }
}

export default class extends WorkerEntrypoint {
  override fetch(request: Request): Promise<Response> {
    const { exports }: any = this.ctx
    return exports.TenantObject.getByName("main").fetch(request)
  }
}
