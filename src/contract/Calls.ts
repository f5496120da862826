/**
 * Calls of queries and mutations from an action, typed by the contract.
 * The calls go to the caller's own tenant, with the identity of the action's caller.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "./Api.ts"
import { Calls } from "./CallsTag.ts"

export { Calls } from "./CallsTag.ts"

/** The calls of one contract. */
export interface CallsOf<Rpcs extends Rpc.Any> {
  /** Runs a query, in a transaction of its own. */
  readonly query: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Effect.Effect<
    Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.ServicesClient<Rpc.ExtractTag<Rpcs, Tag>>
  >
  /** Runs a mutation, in a transaction of its own. */
  readonly mutate: <Tag extends Api.TagOf<Rpcs, "mutation">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Effect.Effect<
    Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.ServicesClient<Rpc.ExtractTag<Rpcs, Tag>>
  >
}

/** The calls of an action, typed by its contract. The object checks tags and payloads again. */
export const of = <Rpcs extends Rpc.Any>(_api: Api.Declared<Rpcs>): Effect.Effect<CallsOf<Rpcs>, never, Calls> =>
  Effect.map(Calls, ({ call }): CallsOf<Rpcs> => ({ query: call, mutate: call }))
