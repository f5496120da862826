/**
 * The port to a platform's SQLite: one database with synchronous statements.
 * Limits, typed errors and transactions of handlers are built on it, once for all platforms.
 */
import * as Context from "effect/Context"
import type { SqlValue } from "./storage/KeyOrder.ts"

export type { SqlValue }

/** One SQLite database. Its methods throw what the platform throws. */
export class Database extends Context.Service<
  Database,
  {
    /**
     * Runs a statement and returns its rows, at most `max` if given. If the text has several statements, the parameters
     * and the rows are those of the last one.
     */
    readonly all: (sql: string, params: ReadonlyArray<SqlValue>, max?: number) => Rows
    /** Runs a statement without rows. */
    readonly run: (sql: string, params: ReadonlyArray<SqlValue>) => void
    /** Runs a statement lazily, row by row. The statement stays open until the iterator returns. */
    readonly iterate: (sql: string, params: ReadonlyArray<SqlValue>) => IterableIterator<ReadonlyArray<SqlValue>>
    /** Runs a function in a transaction, or in a savepoint of the current one. A throw rolls back only this level. */
    readonly transaction: <A>(body: () => A) => A
    /** A number that changes when another connection has committed. Absent where there is no other connection. */
    readonly foreignWrites?: () => number
    /** Whether nothing was ever written. There are no tables then, and no rows. Absent where there are always tables. */
    readonly isUnwritten?: () => boolean
    /** Runs a task now, or in the transaction of the first write. Absent where there are always tables. */
    readonly whenWritten?: (task: () => void) => void
  }
>()("effect-dormouse/Database") {}

/** The rows of a statement, and the names of their columns. */
export interface Rows {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<SqlValue>>
  /** How many rows SQLite read for them, if the platform counts it. Valid until the next statement runs. */
  readonly rowsRead?: number
}

const rolledBack = Symbol("rolled back")

/** Runs a function in a transaction that is rolled back, and returns what it returned. */
export const rollBack = <A>(transaction: Database["Service"]["transaction"], body: () => A): A => {
  let result: { readonly value: A } | undefined
  try {
    return transaction(() => {
      result = { value: body() }
      throw rolledBack
    })
  } catch (cause) {
    if (cause !== rolledBack || result === undefined) throw cause
    return result.value
  }
}

/** The rows as objects, by column name. */
export const toObjects = ({ columns, rows }: Rows): ReadonlyArray<Record<string, SqlValue>> =>
  rows.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index]!])))

/** The first rows of an iterator. Does not advance past them. */
export const take = <Row>(rows: Iterable<Row>, max: number): Array<Row> => {
  const taken: Array<Row> = []
  if (max > 0) {
    for (const row of rows) {
      if (taken.push(row) >= max) break
    }
  }
  return taken
}
