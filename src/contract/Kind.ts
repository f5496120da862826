/**
 * The kinds of rpcs: query, mutation, action. A kind is an rpc middleware that provides the services which only it has.
 * Effect's own types then subtract those services from a handler, and the engine implements the kind around it.
 */
import type * as HttpClient from "effect/http/HttpClient"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type * as SqlClient from "effect/sql/SqlClient"
import { CallError } from "../protocol/CallError.ts"
import type { Auth } from "./Auth.ts"
import type { Calls } from "./Calls.ts"
import type { Storage, StorageWriter } from "./Storage.ts"

/** What a query's handler has: rows and SQL to read, and who is calling. */
export type QueryServices = Storage | SqlClient.SqlClient | Auth

/** What a mutation's handler has: the same, and rows to write. */
export type MutationServices = QueryServices | StorageWriter

/** What an action's handler has: I/O, and calls of queries and mutations. */
export type ActionServices = Calls | HttpClient.HttpClient | Auth

/** Reads, in one transaction, synchronously to the end. */
export class QueryKind extends RpcMiddleware.Service<QueryKind, { provides: QueryServices }>()(
  "effect-dormouse/Kind/Query",
  { error: CallError }
) {}

/** Reads and writes in one transaction, synchronously to the end. */
export class MutationKind extends RpcMiddleware.Service<MutationKind, { provides: MutationServices }>()(
  "effect-dormouse/Kind/Mutation",
  { error: CallError }
) {}

/** Does I/O; reaches data by calling queries and mutations. */
export class ActionKind extends RpcMiddleware.Service<ActionKind, { provides: ActionServices }>()(
  "effect-dormouse/Kind/Action",
  { error: CallError }
) {}

/** The middlewares that are kinds. */
export type AnyKind = QueryKind | MutationKind | ActionKind

/** The names of the kinds. */
export type Kind = "query" | "mutation" | "action"

const hasMiddlewares = (rpc: Rpc.Any): rpc is Rpc.AnyWithProps => "middlewares" in rpc

/** The middlewares of an rpc, the innermost first. */
export const middlewaresOf = (rpc: Rpc.Any): ReadonlySet<RpcMiddleware.AnyServiceWithProps> =>
  hasMiddlewares(rpc) ? rpc.middlewares : new Set()

/** Whether a middleware is the kind of an rpc, and not the author's own. */
export const isKind = (middleware: { readonly key: string }): boolean =>
  middleware.key === QueryKind.key || middleware.key === MutationKind.key || middleware.key === ActionKind.key

/** The kind of an rpc, or `undefined` for an rpc that was not made by `Query`, `Mutation` or `Action`. */
export const kindOf = (rpc: Rpc.Any): Kind | undefined => {
  for (const middleware of middlewaresOf(rpc)) {
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
  ? Exclude<MutationServices | ActionServices, QueryServices>
  : K extends "mutation"
    ? Exclude<ActionServices, MutationServices>
    : Exclude<MutationServices, ActionServices>
