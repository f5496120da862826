import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../hooks.ts"

/** The app of frontends as a Worker of its own, which counts what it gets: `GET /counts`. */

const served = Cloudflare.serve(app, {
  auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous),
  enter: () => true
})

/** Sockets and their messages since the start. `known`: requests of live queries with the hash of a value. */
const counts = { opened: 0, closed: 0, live: 0, known: 0, mutations: 0 }
export type Counts = typeof counts

export class TenantObject extends served.TenantObject {
  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    const text = String(data)
    if (text.includes('"tag":"live:')) counts.live++
    if (text.includes("dormouse-have")) counts.known++
    if (text.includes("dormouse-mutation")) counts.mutations++
    super.webSocketMessage(socket, data)
  }

  override webSocketClose(socket: WebSocket, ...rest: [code: number, reason: string, wasClean: boolean]): void {
    counts.closed++
    super.webSocketClose(socket, ...rest)
  }
}

export class worker extends served.worker {
  override async fetch(request: Request): Promise<Response> {
    if (request.url.endsWith("/counts")) return Response.json(counts)
    if (request.headers.get("upgrade") === "websocket") counts.opened++
    return super.fetch(request)
  }
}
export default worker
