/**
 * The port that a platform supplies to `Storage`: one SQLite database that answers synchronously.
 * Limits, errors and everything else are derived from it once, in `storage/`.
 */
import * as Context from "effect/Context"
import type { SqlValue } from "./storage/KeyOrder.ts"

export type { SqlValue }

/** One SQLite database. Whatever its methods throw is what the platform threw. */
export class Database extends Context.Service<
  Database,
  {
    /**
     * Runs one statement to its end, or until it has given `most` rows. Of several statements in one text, the last
     * one has the parameters and gives the rows. Throws what the platform throws.
     */
    readonly all: (sql: string, params: ReadonlyArray<SqlValue>, most?: number) => Rows
    /** Runs one statement that gives no rows. */
    readonly run: (sql: string, params: ReadonlyArray<SqlValue>) => void
    /** Runs one statement as its rows are asked for. The rows belong to the caller until the iterator returns. */
    readonly iterate: (sql: string, params: ReadonlyArray<SqlValue>) => IterableIterator<ReadonlyArray<SqlValue>>
    /** Runs the body in a transaction, or in a savepoint of the one under way. A throw rolls it back alone. */
    readonly transaction: <A>(body: () => A) => A
  }
>()("effect-dormouse/Database") {}

export interface Rows {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<SqlValue>>
}

/** The rows as objects by column name. */
export const toObjects = ({ columns, rows }: Rows): ReadonlyArray<Record<string, SqlValue>> =>
  rows.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index]!])))

/** The first rows of an iterator. The row after them is not asked for. */
export const take = <Row>(rows: Iterable<Row>, most: number): Array<Row> => {
  const taken: Array<Row> = []
  if (most > 0) {
    for (const row of rows) {
      if (taken.push(row) >= most) break
    }
  }
  return taken
}
