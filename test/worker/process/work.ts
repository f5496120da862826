import { Cloudflare } from "effect-dormouse/cloudflare"
import { quietApp } from "../killed.ts"

/** The app of the tests that kill it, as a Worker of its own. */
export const { TenantObject, worker } = Cloudflare.serve(quietApp)
export default worker
