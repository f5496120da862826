/**
 * Declares reactors: a mutation that runs when the result of a query changes.
 * The engine watches the query and runs the mutation.
 */
import type * as Headers from "effect/http/Headers"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "./Api.ts"

/** A query to watch, and the mutation to run when its result changes. */
export interface Reactor {
  /** The name under which the database stores the last result that was handled. Unique in an app. */
  readonly name: string
  /** The tag of the query. */
  readonly query: string
  readonly queryPayload: unknown
  /** The tag of the mutation. */
  readonly mutation: string
  /** The mutation's payload for a result, or `undefined` to run no mutation. */
  readonly mutationPayload: (result: any) => unknown
  /** The headers that middleware is shown. */
  readonly headers?: Headers.Input | undefined
}

/**
 * Declares that a mutation runs when the result of a query changes, exactly once for each change: the mutation's own
 * transaction records the result that it handled. Commits between two flushes count as one change.
 */
export const react = <Rpcs extends Rpc.Any, Q extends Api.TagOf<Rpcs, "query">, M extends Api.TagOf<Rpcs, "mutation">>(
  _api: Api.Declared<Rpcs>,
  options: {
    readonly name: string
    readonly query: Q
    readonly queryPayload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Q>>
    readonly mutation: M
    readonly mutationPayload: (
      result: Rpc.Success<Rpc.ExtractTag<Rpcs, Q>>
    ) => Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, M>> | undefined
    /** The headers that the middleware of query and mutation is shown. None unless given. */
    readonly headers?: Headers.Input | undefined
  }
): Reactor => options
