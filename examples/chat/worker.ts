import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app, {
  // For whoever runs the chat on their own machine: `npm run explain`.
  explain: (request) => ["127.0.0.1", "localhost"].includes(new URL(request.url).hostname)
})
export default worker
