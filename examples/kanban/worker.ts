import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app, {
  // Tokens are issued here. Who has none is anonymous, reads, and can get an account.
  auth: Auth.layerFirst(
    Auth.layerLocal({ issuer: "dormouse-kanban", audience: "dormouse-kanban" }),
    Auth.layerAnonymous
  ),
  // One team. For more, see docs/tenants.md.
  open: ["main"],
  maxTokenLifetime: "1 hour"
})
export default worker
