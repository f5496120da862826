/**
 * The kinds of rpcs: query, mutation, action, topic. A kind is an rpc middleware that provides the services of its handlers.
 * The types of `effect/rpc` subtract those services from what a handler requires; the engine implements the middleware.
 */
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import { CallError } from "../protocol/CallError.ts"
import type { Executions, ExecutionsWriter } from "./Executions.ts"
import type { FileWriter } from "./FileServices.ts"
import { type ActionServices, kindPrefix, type MutationServices, type QueryServices } from "./KindServices.ts"
import type { Outbox, OutboxWriter } from "./Outbox.ts"
import type { Presences } from "./Presences.ts"
import type { Publisher } from "./Publisher.ts"
import type { TopicKind } from "./TopicKind.ts"

export type {
  ActionServices,
  FileServices,
  JobServices,
  MutationServices,
  OutboxServices,
  PubsubServices,
  QueryServices,
  WithWorkflows,
  WorkflowServices
} from "./KindServices.ts"

/** Marks a query: it reads, in one transaction that runs synchronously to its end. */
export class QueryKind extends RpcMiddleware.Service<QueryKind, { provides: QueryServices }>()(`${kindPrefix}Query`, {
  error: CallError
}) {}

/** Marks a mutation: it reads and writes, in one transaction that runs synchronously to its end. */
export class MutationKind extends RpcMiddleware.Service<MutationKind, { provides: MutationServices }>()(
  `${kindPrefix}Mutation`,
  { error: CallError }
) {}

/** Marks an action: it does I/O, and reads and writes data by calling queries and mutations. */
export class ActionKind extends RpcMiddleware.Service<ActionKind, { provides: ActionServices }>()(
  `${kindPrefix}Action`,
  { error: CallError }
) {}

/** The middlewares that are kinds. */
export type AnyKind = QueryKind | MutationKind | ActionKind | TopicKind

/** Those of single calls. */
export type CallKind = Exclude<AnyKind, TopicKind>

/** The names of the kinds. */
export type Kind = "query" | "mutation" | "action" | "topic"

const hasMiddlewares = (rpc: Rpc.Any): rpc is Rpc.AnyWithProps => "middlewares" in rpc

/** The middleware of an rpc, the innermost first. */
export const middlewaresOf = (rpc: Rpc.Any): ReadonlySet<RpcMiddleware.AnyServiceWithProps> =>
  hasMiddlewares(rpc) ? rpc.middlewares : new Set()

/** Whether a middleware is a kind, and not one of the author's own. */
export const isKind = ({ key }: { readonly key: string }): boolean => key.startsWith(kindPrefix)

/** The kind of an rpc, or `undefined` for an rpc that was not declared with `Query`, `Mutation`, `Action` or `Topic`. */
export const kindOf = (rpc: Rpc.Any): Kind | undefined => {
  for (const middleware of middlewaresOf(rpc)) {
    // The keys are those of the classes above.
    if (isKind(middleware)) return middleware.key.slice(kindPrefix.length).toLowerCase() as Kind
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
          : typeof TopicKind extends Middleware
            ? "topic"
            : never
    : never

/** The services that a handler of this kind must not require. Any other service becomes a requirement of the app. */
export type Forbidden<K extends Kind> = K extends "query" | "topic"
  ?
      | Exclude<MutationServices | ActionServices, QueryServices>
      | FileWriter
      | OutboxWriter
      | Publisher
      | ExecutionsWriter
      | WorkflowEngine
  : K extends "mutation"
    ? Exclude<ActionServices, MutationServices>
    : Exclude<MutationServices, ActionServices> | Outbox | Presences | Executions | ExecutionsWriter
