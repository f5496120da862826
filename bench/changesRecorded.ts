/** The Worker with a change feed. */
import { Cloudflare } from "effect-dormouse/cloudflare"
import { recorded } from "./changesApp.ts"

export const { TenantObject, worker } = Cloudflare.serve(recorded)
export default worker
