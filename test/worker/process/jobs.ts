import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../jobs.ts"

/** The jobs, as a Worker of their own. */
export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker
