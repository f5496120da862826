/**
 * Calls of the deployment's own object from the Worker.
 * They cross as the calls of an action do, in the name of the deployment instead of a caller.
 */
import type { SystemCalls } from "../../services/SystemCalls.ts"
import { SystemApi, systemName } from "../../system/SystemApi.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { callsTo } from "./ActionRunner.ts"

/** The deployment as a caller of its own object. */
const session: RequestSession = { tenant: systemName, identity: { subject: null, claims: { system: true } } }

/** The calls, through the stub of `~system`. */
export const makeCalls = (object: Pick<ObjectStub, "call">): SystemCalls["Service"] => {
  const { call } = callsTo(SystemApi, object, session)
  return { query: call, mutate: call }
}
