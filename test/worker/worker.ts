import { DurableObject } from "cloudflare:workers"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../../examples/chat/app.ts"

export const { TenantObject, worker } = Cloudflare.serve(app)
export default worker

/** An empty object with SQLite storage, for suites that run inside it. */
export class Probe extends DurableObject {}
