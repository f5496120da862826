/**
 * The services that handlers of each kind can use.
 * `Kind.ts` declares the kinds that provide them.
 */
import type * as HttpClient from "effect/http/HttpClient"
import type * as SqlClient from "effect/sql/SqlClient"
import type { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import type { Auth } from "./Auth.ts"
import type { Calls } from "./CallsTag.ts"
import type { Executions, ExecutionsWriter } from "./Executions.ts"
import type { FileReader, FileWriter } from "./FileServices.ts"
import type { Outbox, OutboxWriter } from "./Outbox.ts"
import type { Presences } from "./Presences.ts"
import type { Publisher } from "./Publisher.ts"
import type { Storage, StorageWriter } from "./Storage.ts"
import type { TokenIssuer } from "./TokenIssuer.ts"
import type { Histories } from "./TopicHistory.ts"

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

/** The services that `Pubsub.make` adds: queries and mutations read who is here and how far histories are, mutations and actions publish. */
export type PubsubServices = Presences | Histories | Publisher

/** The services that `Files.make` adds: all handlers read files, mutations and actions write them. */
export type FileServices = FileReader | FileWriter

/** How the keys of the kinds begin. */
export const kindPrefix = "effect-dormouse/Kind/"
