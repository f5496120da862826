/** An app with two tables of messages, which is operated by a key. */
import * as Config from "effect/Config"
import { Admin } from "effect-dormouse/admin"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../examples/minimal/app.ts"

const served = Cloudflare.serve(app, { admin: Admin.make({ key: Config.Redacted("DORMOUSE_KEY") }) })
export const { TenantObject, worker } = served
export default worker
