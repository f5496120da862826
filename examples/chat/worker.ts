import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"
import { home } from "./tenants.ts"

export const { TenantObject, worker } = Cloudflare.serve(app, {
  // Tokens are issued here, with keys that are made here. Who has no token is anonymous.
  auth: Auth.layerFirst(Auth.layerLocal({ issuer: "dormouse-chat", audience: "dormouse-chat" }), Auth.layerAnonymous),
  // The other tenants are for those whose token names them.
  open: [home],
  // Access tokens last ten minutes. Revocations that are older than this are deleted.
  maxTokenLifetime: "1 hour",
  // For `npm run explain` on your own machine.
  explain: (request) => ["127.0.0.1", "localhost"].includes(new URL(request.url).hostname)
})
export default worker
