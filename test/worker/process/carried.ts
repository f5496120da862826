import { CloudflareQueues } from "effect-dormouse/cloudflare/queues"
import { quietApp } from "../killed.ts"

/** The app of the tests that kill it, whose messages a Cloudflare Queue carries. */
export const { TenantObject, worker } = CloudflareQueues.serve(quietApp, { queues: { works: "WORKS" } })
export default worker
