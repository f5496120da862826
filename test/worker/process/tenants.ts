import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../notes.ts"
import { options } from "../tenants.ts"

/** The notes with a registry of tenants, as a Worker of their own. */
export const { TenantObject, worker } = Cloudflare.serve(app, options)
export default worker
