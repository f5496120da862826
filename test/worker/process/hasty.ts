import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../notes.ts"

/** A control: it answers mutations before it handles them, so that a kill loses what it said was done. */
const served = Cloudflare.serve(app)
export const { worker } = served
export default worker

export class TenantObject extends served.TenantObject {
  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    const { id, tag } = JSON.parse(String(data))
    if (tag !== "notes.add") {
      super.webSocketMessage?.(socket, data)
      return
    }
    const exit = { _tag: "Success", value: { id: "promised", body: "", at: 0 } }
    socket.send(JSON.stringify({ _tag: "Exit", requestId: id, exit }))
    this.ctx.waitUntil(scheduler.wait(20).then(() => super.webSocketMessage?.(socket, data)))
  }
}
