/**
 * The services that handlers of each kind can use.
 * `Kind.ts` declares the kinds that provide them.
 */
import type * as HttpClient from "effect/http/HttpClient"
import type * as SqlClient from "effect/sql/SqlClient"
import type { Auth } from "./Auth.ts"
import type { Calls } from "./CallsTag.ts"
import type { Outbox, OutboxWriter } from "./Outbox.ts"
import type { Presences } from "./Presences.ts"
import type { Publisher } from "./Publisher.ts"
import type { Storage, StorageWriter } from "./Storage.ts"
import type { TokenIssuer } from "./TokenIssuer.ts"

/** The services of a query's handler: it reads rows and SQL, and can read the caller's identity. */
export type QueryServices = Storage | SqlClient.SqlClient | Auth

/** The services of a mutation's handler: those of a query, and writes. */
export type MutationServices = QueryServices | StorageWriter

/** The services of an action's handler: I/O, calls of queries and mutations, and tokens of the deployment's own. */
export type ActionServices = Calls | HttpClient.HttpClient | Auth | TokenIssuer

/** The services that `Jobs.make` adds: queries and mutations read the outbox, mutations and actions write it. */
export type JobServices = Outbox | OutboxWriter

/** The services that `Pubsub.make` adds: queries and mutations read who is here, mutations and actions publish. */
export type PubsubServices = Presences | Publisher

/** How the keys of the kinds begin. */
export const kindPrefix = "effect-dormouse/Kind/"
