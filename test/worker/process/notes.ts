import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../notes.ts"

/** The notes, as a Worker of their own. */
export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker
