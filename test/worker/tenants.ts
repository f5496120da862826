import { Auth } from "effect-dormouse/auth"
import { Tenants } from "effect-dormouse/tenants"
import { admin } from "./admin.ts"
import * as Guarded from "./guarded.ts"

/**
 * The options of an app with a registry of tenants. In the Worker of `worker.ts` it serves the tenants whose names begin
 * with `reg-`. A caller is named by a header; `admin` administers the registry.
 */
export const options = {
  auth: Auth.layerFirst(Auth.layerTest, Guarded.auth),
  // Everybody may enter all tenants but these, which exist or not.
  enter: ({ tenant }: { readonly tenant: string }) => !tenant.endsWith("-foreign"),
  tenants: Tenants.registry({ admin: ({ identity }) => identity.subject === "admin" }),
  admin
}

/** Whether a tenant, or an object, belongs to the app with the registry. */
export const isRegistered = (name: string | null | undefined): boolean =>
  name != null && (name.startsWith("reg-") || name === "~tenants")
