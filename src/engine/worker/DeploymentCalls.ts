/**
 * Calls of the objects that belong to the deployment itself, from the Worker.
 * They cross as the calls of an action do, in the name of the deployment instead of a caller.
 */
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "../../contract/Api.ts"
import type { CallsOf } from "../../contract/Calls.ts"
import { deployment } from "../../system/Names.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import { callsTo } from "./ActionRunner.ts"

/** Calls of the object that stores a tenant of the deployment's own, by its contract. */
export const deploymentCalls = <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  tenant: string,
  object: Pick<ObjectStub, "call">
): CallsOf<Rpcs> => {
  const { call } = callsTo(api, object, { tenant, identity: deployment })
  return { query: call, mutate: call }
}
