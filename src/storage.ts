/**
 * Storage alone, for other Effect apps and for Durable Objects of the author's own: tables, transactions, live results.
 * The app around it chooses the database: in memory, in a file, or that of a Durable Object.
 */
export * as Migration from "./contract/Migration.ts"
export * as Table from "./contract/Table.ts"
export * as Transactional from "./contract/Transactional.ts"
export * as Database from "./layers/Database.ts"
export * as Limits from "./protocol/Limits.ts"
export * as KeyValues from "./services/KeyValues.ts"
export * as Locks from "./services/Locks.ts"
export * as Migrations from "./services/Migrations.ts"
export * as PersistedQueues from "./services/PersistedQueues.ts"
export * as Policy from "./services/Policy.ts"
export * as RateLimits from "./services/RateLimits.ts"
export * as Storage from "./services/Storage.ts"
export { Transactor } from "./services/Transactor.ts"
