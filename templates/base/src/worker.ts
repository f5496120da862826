import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app, {
  // `dormouse dev` shows what is live. Nobody may read it in production.
  explain: (request) => new URL(request.url).hostname === "localhost"
})
export default worker
