/**
 * Calls of a contract from the server's own code, typed by the contract. `of` is for actions: the calls go to the tenant of the
 * action's caller, with the caller's identity. `forTenant` is for routes and cron triggers of the Worker, which say both.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Api from "./Api.ts"
import { anonymous, type Identity } from "./Auth.ts"
import { Calls } from "./CallsTag.ts"
import type { KindOf } from "./Kind.ts"

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

/** The actions that return one value. */
type UnaryActionOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? KindOf<Rpcs> extends "action"
    ? Rpc.SuccessSchema<Rpcs> extends RpcSchema.Stream<any, any>
      ? never
      : Rpcs["_tag"]
    : never
  : never

/** The calls of one contract in one tenant. */
export interface TenantCallsOf<Rpcs extends Rpc.Any> extends CallsOf<Rpcs> {
  /** Runs an action that returns one value. */
  readonly act: <Tag extends UnaryActionOf<Rpcs>>(
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Effect.Effect<
    Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>,
    Rpc.ServicesClient<Rpc.ExtractTag<Rpcs, Tag>>
  >
}

/** Whose calls are made, and where. */
export interface TenantCaller {
  /** The tenant, `main` unless given. */
  readonly tenant?: string
  /**
   * In whose name. Nobody verifies it: whoever writes the route has done so. Anonymous unless given; `Auth.system` is the
   * system.
   */
  readonly identity?: Identity
  /** The network address that the calls count for. They count for none unless given. */
  readonly address?: string | undefined
}

/** Calls of any tenant of the deployment, for code of the Worker. Authors use it through `forTenant`. */
export class TenantCalls extends Context.Service<
  TenantCalls,
  {
    /** Calls an rpc of the app by its tag, with a decoded payload. */
    readonly call: (
      caller: TenantCaller & { readonly tenant: string; readonly identity: Identity },
      tag: string,
      payload: unknown
    ) => Effect.Effect<any, any>
  }
>()("effect-dormouse/TenantCalls") {}

/**
 * The calls of a contract in a tenant, for routes and cron triggers. What `Api.internal` hides from clients can be called. The
 * tenant must exist, or a call fails with `Forbidden`; the limits of callers hold, and `enter` is not asked.
 */
export const forTenant = <Rpcs extends Rpc.Any>(
  _api: Api.Declared<Rpcs>,
  { address, identity = anonymous, tenant = "main" }: TenantCaller = {}
): Effect.Effect<TenantCallsOf<Rpcs>, never, TenantCalls> =>
  Effect.map(TenantCalls, (calls): TenantCallsOf<Rpcs> => {
    const call = (tag: string, payload: unknown) => calls.call({ address, identity, tenant }, tag, payload)
    return { query: call, mutate: call, act: call }
  })
