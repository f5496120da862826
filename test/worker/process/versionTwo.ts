import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { Tenants } from "effect-dormouse/tenants"
import { versionTwo } from "../versions.ts"

/** Version two of an app that is deployed twice, with a registry of tenants. */
export const { TenantObject, worker } = Cloudflare.serve(versionTwo, {
  auth: Auth.layerTest,
  enter: () => true,
  tenants: Tenants.registry({ create: "onEnter", admin: ({ identity }) => identity.subject === "admin" })
})
export default worker
