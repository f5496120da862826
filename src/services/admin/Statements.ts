/**
 * Runs a statement of whoever operates an app, within the storage of a transaction.
 * Its writes follow the rules of raw SQL in mutations: live queries see them, and tables with feeds or files refuse them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Statement, StatementRefused, type StatementResult } from "../../admin/AdminApi.ts"
import type { Rows, SqlValue } from "../Database.ts"
import * as RawSql from "../storage/RawSql.ts"
import { isSingleRowStatement } from "../storage/SqlFootprint.ts"
import { checkStatement } from "../storage/StatementLimits.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import { fromCell, toCell } from "./Cells.ts"

/** Characters of the JSON of all rows that are returned. */
const maxCharacters = 1_000_000
const defaultRows = 1000

const refuse = (detail: string): never => {
  throw new StatementRefused({ detail })
}

const isRefused = (error: unknown): error is StatementRefused => error instanceof StatementRefused

/** The values of the parameters. */
const valuesOf = ({ params = [] }: Statement): ReadonlyArray<SqlValue> =>
  params.map((cell, i) => fromCell(cell) ?? (cell === null ? null : refuse(`parameter ${i + 1} is not base64`)))

/** Runs a statement that reads. Throws a `StatementRefused` for one that may write. */
const read = (storage: TransactionStorage, asked: Statement): StatementResult => {
  const { maxRows = defaultRows, statement } = asked
  const params = valuesOf(asked)
  storage.checkOpen()
  checkStatement(statement, params)
  const { database, footprints, isUnwritten } = storage.runtime
  const { readOnly, writes } = footprints.footprint(statement, params.length)
  if (!readOnly && writes === "everything") refuseUnknown(database, statement, params)
  if (!readOnly) refuse("this statement writes: say that it may")
  // Without a row: whoever asks for none still gets the columns.
  const { columns } = database.all(statement, params, 0)
  // An empty database has no tables, and makes them for as long as a statement takes.
  const rows = isUnwritten ? database.all(statement, params, maxRows + 1).rows : database.iterate(statement, params)
  return { ...resultOf(columns, rows, maxRows), written: 0 }
}

/** Runs a statement that may write. */
const write = (storage: TransactionStorage, asked: Statement): Effect.Effect<StatementResult, SqlError> => {
  const { maxRows = defaultRows, statement } = asked
  const params = valuesOf(asked)
  const { database, footprints } = storage.runtime
  const { readOnly, writes } = footprints.footprint(statement, params.length)
  if (readOnly) return Effect.sync(() => read(storage, asked))
  if (writes === "everything") return refuseUnknown(database, statement, params)
  for (const table of writes) {
    if (table.startsWith("_")) refuse(`table ${table} belongs to the engine, which alone may write it`)
  }
  const before = totalChanges(database)
  return Effect.map(RawSql.attempt({ storage }, statement, params), ({ columns, rows }) => ({
    ...resultOf(columns, rows, maxRows),
    written: totalChanges(database) - before
  }))
}

type Database = TransactionStorage["runtime"]["database"]

/** Refuses a statement whose tables are not known: one that SQLite does not compile, or another kind of statement. */
const refuseUnknown = (database: Database, statement: string, params: ReadonlyArray<SqlValue>): never => {
  // SQLite says what is wrong with it. Other statements must not be explained: of several ones all but the first would run.
  if (isSingleRowStatement(statement)) {
    database.all(
      `EXPLAIN ${statement}`,
      params.map(() => null),
      0
    )
  }
  return refuse("only one statement that selects, inserts, updates or deletes rows can run here")
}

const totalChanges = (database: Database): number => Number(database.all("SELECT total_changes()", []).rows[0]![0])

/** The first rows, as far as they fit. */
const resultOf = (
  columns: Rows["columns"],
  rows: Iterable<ReadonlyArray<SqlValue>>,
  maxRows: number
): Omit<StatementResult, "written"> => {
  const taken: Array<StatementResult["rows"][number]> = []
  let characters = 0
  let truncated = false
  for (const row of rows) {
    const cells = row.map(toCell)
    characters += JSON.stringify(cells).length
    truncated = taken.length >= maxRows || (characters > maxCharacters && taken.length > 0)
    if (truncated) break
    taken.push(cells)
  }
  return { columns: [...columns], rows: taken, truncated }
}

/** What SQLite said, or the rule that a statement breaks. */
const detailOf = (error: unknown): string => {
  let detail = error instanceof Error ? error.message : String(error)
  for (
    let cause = error;
    cause instanceof Error;
    cause = cause.cause ?? ("reason" in cause ? cause.reason : undefined)
  ) {
    detail = cause.message || detail
  }
  return detail
}

/** Runs a statement in the transaction of a handler. Fails with `StatementRefused` for whatever is wrong with it. */
export const run = (
  storage: TransactionStorage,
  statement: Statement
): Effect.Effect<StatementResult, StatementRefused> =>
  Effect.suspend(() => (storage.readOnly ? Effect.succeed(read(storage, statement)) : write(storage, statement))).pipe(
    Effect.catchCause((cause) => {
      const error = Cause.squash(cause)
      return Effect.fail(isRefused(error) ? error : new StatementRefused({ detail: detailOf(error) }))
    })
  )
