/**
 * The seam for services that take part in transactions: what such a service declares, and what a transaction gives it.
 * The engine opens each of them with every transaction; what it wrote is rolled back and what it delivers is held back with it.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Random from "effect/Random"

/** A value as SQLite stores it. */
export type SqlValue = null | number | string | Uint8Array

/** A table that belongs to a service and not to the author. */
export interface InternalTable {
  /** Begins with an underscore, which the names of authors' tables may not. */
  readonly name: string
  /** The statement that creates it, with its indexes. It runs when the database has no table of this name. */
  readonly create: string
}

/** One transaction, as the services that take part in it see it. */
export interface Tx {
  /** The time of the transaction, in milliseconds since 1970. It stands still. */
  readonly now: number
  /** Random numbers of this transaction. */
  readonly random: Random.Random
  /** Whether this is a query: its services may not write. */
  readonly readOnly: boolean
  /** Runs one statement on the service's own tables. Its writes are rolled back with the transaction. */
  readonly query: (sql: string, params?: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>
  /** Records that a table of the service was read: a live query runs again when `recordWrite` names it. */
  readonly recordRead: (table: string) => void
  /** Records that a table of the service was written. */
  readonly recordWrite: (table: string) => void
  /** Runs an effect once the transaction is committed, and never when it is rolled back. It may wait; failures are logged. */
  readonly afterCommit: (effect: Effect.Effect<void>) => void
}

/** A service that takes part in transactions. */
export interface Transactional<in out I, in out S> {
  /** The tag under which handlers ask for the service. */
  readonly tag: Context.Key<I, S>
  /** Its own tables. They are created when the object starts. */
  readonly tables: ReadonlyArray<InternalTable>
  /** Makes the service of one transaction. Called once for each; it answers synchronously and keeps no state of its own. */
  readonly open: (tx: Tx) => S
}

/** A transactional service of any type. */
export type Any = Transactional<any, any>

/** The tag of a transactional service, in the types. */
export type Identifier<T> = T extends Transactional<infer I, any> ? I : never
