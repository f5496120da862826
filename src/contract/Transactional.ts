/**
 * The interface for services that take part in transactions: what a service declares, and what it gets of a transaction.
 * Each transaction opens every such service. A rollback undoes its writes and drops the effects that it deferred.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Random from "effect/Random"
import type * as Tracer from "effect/Tracer"

/** A value as SQLite stores it. */
export type SqlValue = null | number | string | Uint8Array

/** A table that belongs to a service and not to the author, or an index that was added to one later. */
export interface InternalTable {
  /** Begins with an underscore. Names of the author's tables must not. */
  readonly name: string
  /** The statements that create it, with its indexes. They run if the database has no table or index of this name. */
  readonly create: string
}

/** One transaction, as its services see it. */
export interface Tx {
  /** The time of the transaction, in milliseconds since the epoch. It does not advance while the transaction runs. */
  readonly now: number
  /** The random numbers of this transaction. */
  readonly random: Random.Random
  /** Whether the transaction only reads. Its services must not write. */
  readonly readOnly: boolean
  /** The span of the call, if the author has a tracer. */
  readonly span: () => Tracer.AnySpan | undefined
  /** Runs one statement on the service's own tables. Its writes are rolled back with the transaction. */
  readonly query: (sql: string, params?: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>
  /**
   * Records a read of one of the service's tables: a live query runs again when `recordWrite` names the table. With a key,
   * when it names the table with that key, or without one.
   */
  readonly recordRead: (table: string, key?: string) => void
  /** Records a write of one of the service's tables, or of what has a key in it. */
  readonly recordWrite: (table: string, key?: string) => void
  /**
   * Runs an effect after the commit, and never after a rollback. The effect may be asynchronous; failures are logged.
   */
  readonly afterCommit: (effect: Effect.Effect<void>) => void
  /**
   * Runs writes that no rollback undoes: now, and again after each rollback that has undone them. When only a part of the
   * transaction was rolled back (`Table.atomically`) that is at once, and when all of it was, in a transaction of its own,
   * before anything else runs. The function must write the same each time, because it may run several times, and only rows
   * that nothing else writes.
   */
  readonly outlive: (writes: () => void) => void
}

/** Rows of a service that end at a time. In an app with jobs, its alarm deletes them then. */
export interface Expiring {
  /** What `recordWrite` names when the end of a row was set. */
  readonly changes: string
  /** The statement that selects the earliest end, in milliseconds since the epoch. */
  readonly next: string
  /** Deletes rows that have ended, a limited number at a time. */
  readonly sweep: (tx: Tx) => void
}

/** A row of one of the app's tables that a transaction has written, with its values in the order of the columns. */
export interface RowChange {
  readonly table: string
  /** The position of the key. */
  readonly keyAt: number
  /** The row before. Nothing if there was none. */
  readonly before: ReadonlyArray<SqlValue> | undefined
  /** The row after. Nothing if there is none any more. */
  readonly after: ReadonlyArray<SqlValue> | undefined
}

/** Records the changes of some of the app's tables. These are then written by their methods alone, not by raw SQL. */
export interface ChangeRecorder {
  /** Why only methods may write the tables: what each of them has. */
  readonly reason: string
  /** The names of the tables. */
  readonly tables: ReadonlySet<string>
  /** Writes what follows from the changes of one transaction, in their order, at its end. A `StorageError` rolls it back. */
  readonly record: (tx: Tx, changes: ReadonlyArray<RowChange>) => void
}

/** A service that takes part in transactions. */
export interface Transactional<in out I, in out S> {
  /** The tag under which handlers use the service. */
  readonly tag: Context.Key<I, S>
  /** The service's own tables. They are created with those of the app. */
  readonly tables: ReadonlyArray<InternalTable>
  /** Makes the service for one transaction. Called once per transaction; synchronous, and without state of its own. */
  readonly open: (tx: Tx) => S
  readonly expiring?: Expiring
  readonly recorder?: ChangeRecorder | undefined
}

/** A transactional service of any type. */
export type Any = Transactional<any, any>

/** The identifier of a transactional service's tag, as a type. */
export type Identifier<T> = T extends Transactional<infer I, any> ? I : never
