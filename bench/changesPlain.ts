/** The Worker without a change feed. */
import { Cloudflare } from "effect-dormouse/cloudflare"
import { plain } from "./changesApp.ts"

export const { TenantObject, worker } = Cloudflare.serve(plain)
export default worker
