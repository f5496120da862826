/**
 * Reactors: a mutation that runs when the result of a query changes.
 * The declaration only; the engine watches the query and runs the mutation.
 */
import type * as Rpc from "effect/rpc/Rpc"
import type * as Api from "./Api.ts"

/** What is done when the result of a query changes. */
export interface Reactor {
  /** The name under which the database keeps the result that was last reacted to. Unique in an app. */
  readonly name: string
  readonly query: string
  readonly queryPayload: unknown
  readonly mutation: string
  /** The mutation's payload for a result, or `undefined` when there is nothing to do. */
  readonly mutationPayload: (result: any) => unknown
}

/**
 * Runs a mutation when the result of a query changes, once for each change: the result that was reacted to is recorded in
 * the mutation's own transaction. Several commits between two flushes are one change.
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
  }
): Reactor => options
