import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app, {
  // For `npm run explain` on your own machine.
  explain: (request) => ["127.0.0.1", "localhost"].includes(new URL(request.url).hostname)
})
export default worker
