import { CloudflareQueues } from "effect-dormouse/cloudflare/queues"
import { app } from "./app.ts"

export const { TenantObject, worker } = CloudflareQueues.serve(app, { queues: { previews: "PREVIEWS" } })
export default worker
