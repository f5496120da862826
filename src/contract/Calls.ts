import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "./Api.ts"

/** How an action reaches its tenant's data: by calling queries and mutations, each a transaction of its own. */
export class Calls extends Context.Service<
  Calls,
  {
    /** Calls an rpc by tag with a decoded payload. `Calls.of` gives it the types of a contract. */
    readonly call: (tag: string, payload: unknown) => Effect.Effect<any, any>
  }
>()("effect-dormouse/Calls") {}

/** The calls of one contract. */
export interface CallsOf<Rpcs extends Rpc.Any> {
  readonly query: <Tag extends Api.TagOf<Rpcs, "query">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Effect.Effect<
    Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.ServicesClient<Rpc.ExtractTag<Rpcs, Tag>>
  >
  readonly mutate: <Tag extends Api.TagOf<Rpcs, "mutation">>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Effect.Effect<
    Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.ServicesClient<Rpc.ExtractTag<Rpcs, Tag>>
  >
}

/** The caller's own tenant, typed by the contract. Tags and payloads are checked again where they arrive. */
export const of = <Rpcs extends Rpc.Any>(_api: Api.Declared<Rpcs>): Effect.Effect<CallsOf<Rpcs>, never, Calls> =>
  Effect.map(Calls, ({ call }): CallsOf<Rpcs> => ({ query: call, mutate: call }))
