/**
 * Calls of a contract as the outbox stores them, for jobs, crons and the ends of messages.
 * A call is checked when it is promised: it may run years later.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"
import * as Limits from "../protocol/Limits.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import type * as Api from "./Api.ts"
import { kindOf } from "./Kind.ts"
import { requireBytes } from "./Refusals.ts"

/** The lane of jobs that call mutations: each runs in the object, in one transaction with the end of its job. */
export const mutationLane = "mutations"
/** The lane of jobs that call actions. */
export const actionLane = "actions"

/** Fails for a payload that does not fit into a row. */
export const requireStorable = (json: Schema.Json): Effect.Effect<void, CallError> =>
  requireBytes("rowBytes", Limits.storedBytes, JSON.stringify(json))

/** A call of a contract, as the outbox stores it. */
export const encodeCall = Effect.fnUntraced(function* (api: Api.Declared<any>, tag: string, payload: unknown) {
  const rpc: Rpc.Any | undefined = api.declared.requests.get(tag)
  const kind = rpc && kindOf(rpc)
  if (rpc === undefined || (kind !== "mutation" && kind !== "action")) {
    return yield* Effect.die(new Error(`the contract has no mutation or action ${tag}`))
  }
  const json = RpcCodec.of(rpc).encodePayload(payload)
  yield* requireStorable(json)
  return { lane: kind === "mutation" ? mutationLane : actionLane, target: tag, payload: json }
})
