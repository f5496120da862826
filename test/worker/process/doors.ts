import { Cloudflare } from "effect-dormouse/cloudflare"
import { doors } from "../doors.ts"

/** The doors with the default limits, which the environment overrides. */
export const { TenantObject, worker } = Cloudflare.serve(doors({}))
export default worker
