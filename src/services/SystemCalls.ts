/**
 * The port to the deployment's own object: typed calls of what the deployment keeps for all tenants.
 * The platform provides it to the author's `auth` layer and to the gateway. No outside request reaches that object.
 */
import * as Context from "effect/Context"
import type { CallsOf } from "../contract/Calls.ts"
import type { SystemRpcs } from "../system/SystemApi.ts"

/**
 * Calls of the deployment's own object. Each is a transaction of its own, and fails with `CallError`: `Unavailable` when the
 * object did not answer.
 */
export class SystemCalls extends Context.Service<SystemCalls, CallsOf<SystemRpcs>>()(
  "effect-dormouse/services/SystemCalls"
) {}
