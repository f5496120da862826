import type * as HttpClient from "effect/http/HttpClient"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type * as SqlClient from "effect/sql/SqlClient"
import { CallError } from "../protocol/CallError.ts"
import type { Auth } from "./Auth.ts"
import type { Calls } from "./Calls.ts"
import type { Storage, StorageWriter } from "./Storage.ts"

/**
 * The kind of an rpc is an rpc middleware: it names the services that only this kind has, so that Effect's own types
 * subtract them from a handler, and the engine implements it as the transaction around the handler.
 */

/** Reads, in one transaction, synchronously to the end. */
export class QueryKind extends RpcMiddleware.Service<QueryKind, { provides: Storage | SqlClient.SqlClient | Auth }>()(
  "effect-dormouse/Kind/Query",
  { error: CallError }
) {}

/** Reads and writes in one transaction, synchronously to the end. */
export class MutationKind extends RpcMiddleware.Service<
  MutationKind,
  { provides: Storage | StorageWriter | SqlClient.SqlClient | Auth }
>()("effect-dormouse/Kind/Mutation", { error: CallError }) {}

/** Does I/O; reaches data by calling queries and mutations. */
export class ActionKind extends RpcMiddleware.Service<ActionKind, { provides: Calls | HttpClient.HttpClient | Auth }>()(
  "effect-dormouse/Kind/Action",
  { error: CallError }
) {}

export type Kind = "query" | "mutation" | "action"

/** The kind of an rpc, or `undefined` for an rpc that was not made by `Query`, `Mutation` or `Action`. */
export const kindOf = (rpc: Rpc.Any): Kind | undefined => {
  const { middlewares } = rpc as unknown as Rpc.AnyWithProps
  for (const middleware of middlewares) {
    if (middleware.key === QueryKind.key) return "query"
    if (middleware.key === MutationKind.key) return "mutation"
    if (middleware.key === ActionKind.key) return "action"
  }
  return undefined
}

/** The kind of an rpc, in the types. */
export type KindOf<R> =
  R extends Rpc.Rpc<infer _Tag, infer _Payload, infer _Success, infer _Error, infer Middleware, infer _Requires>
    ? typeof QueryKind extends Middleware
      ? "query"
      : typeof MutationKind extends Middleware
        ? "mutation"
        : typeof ActionKind extends Middleware
          ? "action"
          : never
    : never

/** What a handler of this kind may never ask for. Everything else it needs becomes a requirement of the app. */
export type Forbidden<K extends Kind> = K extends "query"
  ? StorageWriter | Calls | HttpClient.HttpClient
  : K extends "mutation"
    ? Calls | HttpClient.HttpClient
    : Storage | StorageWriter | SqlClient.SqlClient
