import { Cloudflare } from "effect-dormouse/cloudflare"
import { limited } from "../notes.ts"

/** The notes with limits that a test can reach, as a Worker of their own. */
export const { TenantObject, worker } = Cloudflare.serve(limited)
export default worker
