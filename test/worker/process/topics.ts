import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../topics.ts"

/** The app with topics, as a Worker of its own. */
export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker
