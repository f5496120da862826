/**
 * The kinds of rpcs: query, mutation, action. A kind is an rpc middleware that provides the services of its handlers.
 * The types of `effect/rpc` subtract those services from what a handler requires; the engine implements the middleware.
 */
import type * as HttpClient from "effect/http/HttpClient"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type * as SqlClient from "effect/sql/SqlClient"
import type { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import { CallError } from "../protocol/CallError.ts"
import type { Auth } from "./Auth.ts"
import type { Calls } from "./CallsTag.ts"
import type { Executions, ExecutionsWriter } from "./Executions.ts"
import type { Outbox, OutboxWriter } from "./Outbox.ts"
import type { Storage, StorageWriter } from "./Storage.ts"
import type { TokenIssuer } from "./TokenIssuer.ts"

/** The services of a query's handler: it reads rows and SQL, and can read the caller's identity. */
export type QueryServices = Storage | SqlClient.SqlClient | Auth

/** The services of a mutation's handler: those of a query, and writes. */
export type MutationServices = QueryServices | StorageWriter

/** The services of an action's handler: I/O, calls of queries and mutations, and tokens of the deployment's own. */
export type ActionServices = Calls | HttpClient.HttpClient | Auth | TokenIssuer

/** The services that `Jobs.make` adds: queries and mutations read the outbox, mutations and actions write it. */
export type OutboxServices = Outbox | OutboxWriter

/** The services that jobs add, with workflows or without. */
export type JobServices = OutboxServices | WorkflowServices

/**
 * The services that `Workflows.make` adds: queries and mutations read executions, mutations steer them, and mutations and actions
 * have Effect's engine.
 */
export type WorkflowServices = Executions | ExecutionsWriter | WorkflowEngine

/** Marks jobs with workflows, which handlers that use them require. */
export interface WithWorkflows {
  readonly "~effect-dormouse/Workflows": true
}

/** Marks a query: it reads, in one transaction that runs synchronously to its end. */
export class QueryKind extends RpcMiddleware.Service<QueryKind, { provides: QueryServices }>()(
  "effect-dormouse/Kind/Query",
  { error: CallError }
) {}

/** Marks a mutation: it reads and writes, in one transaction that runs synchronously to its end. */
export class MutationKind extends RpcMiddleware.Service<MutationKind, { provides: MutationServices }>()(
  "effect-dormouse/Kind/Mutation",
  { error: CallError }
) {}

/** Marks an action: it does I/O, and reads and writes data by calling queries and mutations. */
export class ActionKind extends RpcMiddleware.Service<ActionKind, { provides: ActionServices }>()(
  "effect-dormouse/Kind/Action",
  { error: CallError }
) {}

/** The middlewares that are kinds. */
export type AnyKind = QueryKind | MutationKind | ActionKind

/** The names of the kinds. */
export type Kind = "query" | "mutation" | "action"

const hasMiddlewares = (rpc: Rpc.Any): rpc is Rpc.AnyWithProps => "middlewares" in rpc

/** The middleware of an rpc, the innermost first. */
export const middlewaresOf = (rpc: Rpc.Any): ReadonlySet<RpcMiddleware.AnyServiceWithProps> =>
  hasMiddlewares(rpc) ? rpc.middlewares : new Set()

/** Whether a middleware is a kind, and not one of the author's own. */
export const isKind = (middleware: { readonly key: string }): boolean =>
  middleware.key === QueryKind.key || middleware.key === MutationKind.key || middleware.key === ActionKind.key

/** The kind of an rpc, or `undefined` for an rpc that was not declared with `Query`, `Mutation` or `Action`. */
export const kindOf = (rpc: Rpc.Any): Kind | undefined => {
  for (const middleware of middlewaresOf(rpc)) {
    if (middleware.key === QueryKind.key) return "query"
    if (middleware.key === MutationKind.key) return "mutation"
    if (middleware.key === ActionKind.key) return "action"
  }
  return undefined
}

/** The kind of an rpc, as a type; `never` for an rpc without a kind. */
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

/** The services that a handler of this kind must not require. Any other service becomes a requirement of the app. */
export type Forbidden<K extends Kind> = K extends "query"
  ? Exclude<MutationServices | ActionServices, QueryServices> | OutboxWriter | ExecutionsWriter | WorkflowEngine
  : K extends "mutation"
    ? Exclude<ActionServices, MutationServices>
    : Exclude<MutationServices, ActionServices> | Outbox | Executions | ExecutionsWriter
