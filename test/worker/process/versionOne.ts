import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { Tenants } from "effect-dormouse/tenants"
import { versionOne } from "../versions.ts"

/** Version one of an app that is deployed twice, with a registry of tenants. */
export const { TenantObject, worker } = Cloudflare.serve(versionOne, {
  auth: Auth.layerTest,
  enter: () => true,
  tenants: Tenants.registry({ create: "onEnter", admin: ({ identity }) => identity.subject === "admin" })
})
export default worker
