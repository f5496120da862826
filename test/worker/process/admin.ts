import * as Config from "effect/Config"
import { Admin } from "effect-dormouse/admin"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app, options } from "../admin.ts"

/** The app that is operated, as a Worker of its own, with the key of its environment. */
const served = Cloudflare.serve(app, { ...options, admin: Admin.make({ key: Config.Redacted("DORMOUSE_KEY") }) })
export const { TenantObject, worker } = served
export default worker
