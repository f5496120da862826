import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "./app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker
