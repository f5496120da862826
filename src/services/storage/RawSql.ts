/**
 * Effect's `SqlClient` inside the transaction of the handler that uses it.
 * `SqlFootprint` finds the tables that a statement reads and writes; a query may not write.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import {
  ConstraintError,
  classifySqliteError,
  SqlError,
  type SqlErrorReason,
  UniqueViolation as SqlUniqueViolation
} from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import { StorageError } from "../../contract/Storage.ts"
import * as Limits from "../../protocol/Limits.ts"
import { type Database, type Rows, type SqlValue, toObjects } from "../Database.ts"
import type { PolicyGuard } from "./PolicyPort.ts"
import type { Footprint } from "./SqlFootprint.ts"
import { checkStatement, limitOf } from "./StatementLimits.ts"
import { TableWriter } from "./TableWriter.ts"
import { SqlTransaction, type TransactionStorage } from "./TransactionStorage.ts"

/** What a statement belongs to. */
interface Current {
  readonly storage: TransactionStorage
  /** The policies for the caller; `undefined` in an app without policies and in `Storage.unrestricted`. */
  readonly guard?: PolicyGuard | undefined
}

/** The storage of the current transaction. */
export class CurrentStorage extends Context.Service<CurrentStorage, Current>()(
  "effect-dormouse/services/storage/CurrentStorage"
) {}

/** Runs an author's statement, and records the tables that it reads and writes. */
const runStatement = ({ guard, storage }: Current, sql: string, params: ReadonlyArray<SqlValue>): Rows => {
  storage.checkOpen()
  checkStatement(sql, params)
  const footprint = storage.footprint(sql, params.length)
  guard?.checkSql(footprint)
  if (!footprint.readOnly) storage.checkRecorded(footprint.writes)
  if (storage.reads !== undefined) {
    if (footprint.reads === "everything") storage.reads.everything()
    else for (const table of footprint.reads) storage.reads.table(table)
    if (footprint.readsClock) storage.reads.clock()
  }
  try {
    return footprint.readOnly ? read(storage, sql, params) : write(storage, sql, params, footprint)
  } catch (cause) {
    throw limitOf(cause, params) ?? cause
  }
}

const read = (storage: TransactionStorage, sql: string, params: ReadonlyArray<SqlValue>): Rows => {
  const result = storage.runtime.database.all(sql, params, storage.rowsLeft() + 1)
  const { rows, rowsRead = 0 } = result
  storage.countRead(rows.length)
  // An aggregate, a filter and a write read more rows than they return.
  if (rowsRead > rows.length) storage.countRead(rowsRead - rows.length)
  return result
}

const write = (
  storage: TransactionStorage,
  sql: string,
  params: ReadonlyArray<SqlValue>,
  { writes }: Footprint
): Rows => {
  const { database } = storage.runtime
  storage.bufferOpenCursors()
  storage.invalidateTables(writes)
  // How many rows it reads and writes is known only afterwards. Over a limit, roll back: the author may catch the error.
  const result = database.transaction(() => {
    const before = totalChanges(database)
    const result = read(storage, sql, params)
    storage.countWritten(totalChanges(database) - before)
    return result
  })
  storage.recordTables(writes)
  return result
}

/** The number of rows that the connection has ever written, including those of cascades and triggers. */
const totalChanges = (database: Database["Service"]): number =>
  Number(database.all("SELECT total_changes()", []).rows[0]![0])

/** Runs a statement in a transaction. */
export const attempt = (current: Current, sql: string, params: ReadonlyArray<unknown>): Effect.Effect<Rows, SqlError> =>
  Effect.try({
    try: () => {
      if (!sql.isWellFormed()) throw new Error("a statement of SQL must not have half a surrogate pair")
      if (endsTransaction.test(sql)) throw new Error("a statement cannot roll back the transaction that it runs in")
      if (defersForeignKeys.test(sql)) deferring.add(current.storage)
      return runStatement(current, sql, params.map(toValue))
    },
    catch: (cause) => new SqlError({ reason: reasonOf(cause) })
  })

/**
 * The reason of an error, as Effect's clients of SQLite report it. They go by SQLite's codes, which `node:sqlite` has under
 * another name and a Durable Object has not at all: both have the message.
 */
const reasonOf = (cause: unknown): SqlErrorReason => {
  // The message names a limit; the cause has SQLite's own message.
  const message = cause instanceof StorageError ? cause.reason.message : "Failed to execute statement"
  const properties = { cause, message, operation: "execute" }
  const [failed, constraint] = (cause instanceof Error && constraintFailed.exec(cause.message)) || []
  if (failed === undefined) return classifySqliteError(cause, properties)
  return constraint === undefined
    ? new ConstraintError(properties)
    : new SqlUniqueViolation({ ...properties, constraint })
}

/** The message for a violated constraint, with the columns of a unique one. A Durable Object adds a code to it. */
const constraintFailed = /(?:UNIQUE constraint failed: (.+?)|constraint failed.*?)(?:: SQLITE_CONSTRAINT.*)?$/s

/**
 * Statements that roll back the whole transaction on a conflict. They are refused: a Durable Object would be reset, and
 * elsewhere SQLite would commit each later statement by itself.
 */
const endsTransaction = /\b(?:or|conflict)\s+rollback\b|\braise\s*\(\s*rollback\b/i

const defersForeignKeys = /\bdefer_foreign_keys\b/i
const deferring = new WeakSet<TransactionStorage>()

/**
 * Checks foreign keys that were deferred. Call before the commit: a broken reference would fail the commit, and with it
 * all other transactions of the same turn.
 */
export const checkForeignKeys = (storage: TransactionStorage): void => {
  if (!deferring.has(storage)) return
  const [broken] = storage.runtime.database.all("PRAGMA foreign_key_check", []).rows
  if (broken !== undefined)
    throw new Error(`a row of table ${broken[0]} refers to a row of table ${broken[2]} that does not exist`)
}

/** Converts a parameter to a value of SQLite. */
const toValue = (value: unknown): SqlValue => {
  switch (typeof value) {
    case "boolean":
      return value ? 1 : 0
    case "number":
      return value
    case "string":
      if (!value.isWellFormed()) throw new Error("a parameter of SQL must not have half a surrogate pair")
      return value
    case "bigint":
      if (Number.isSafeInteger(Number(value))) return Number(value)
      throw new Error("a bigint beyond 2^53 cannot be bound: SQLite on this platform would round it")
    default:
      if (value === null || value === undefined) return null
      if (value instanceof Uint8Array) return value
      if (value instanceof Date) return value.toISOString()
      throw new Error("a parameter of SQL must be a string, a number, a boolean, a date, bytes or null")
  }
}

const current = Effect.withFiber<Current>((fiber) => {
  const found = Context.getOption(fiber.context, CurrentStorage)
  return found._tag === "Some" ? Effect.succeed(found.value) : Effect.die(new Error("SQL runs only in a handler"))
})

const run = (sql: string, params: ReadonlyArray<unknown>): Effect.Effect<Rows, SqlError> =>
  Effect.flatMap(current, (current) => attempt(current, sql, params))

const execute: Connection["execute"] = (sql, params, transformRows) =>
  Effect.map(run(sql, params), (rows) => {
    const records: ReadonlyArray<any> = toObjects(rows)
    return transformRows === undefined ? records : transformRows(records)
  })

const executeValues: Connection["executeValues"] = (sql, params) => Effect.map(run(sql, params), (rows) => rows.rows)

/** The connection of all transactions: it works on the storage of the one that uses it. */
export const connection: Connection = {
  execute,
  executeRaw: (sql, params) => execute(sql, params, undefined),
  executeStream: (sql, params, transformRows) =>
    Stream.unwrap(Effect.map(execute(sql, params, transformRows), Stream.fromArray)),
  executeValues,
  executeValuesUnprepared: executeValues,
  executeUnprepared: execute
}

/**
 * Defers an effect until after the commit. It has the services of the handler, but the clock, the random numbers and the
 * scheduler of what runs it: those of the transaction cannot wait.
 */
const deferUntilCommit = <R>(
  storage: TransactionStorage,
  effect: Effect.Effect<void, never, R>
): Effect.Effect<void, never, R> =>
  Effect.contextWith((context: Context.Context<any>) => {
    storage.checkOpen()
    if (storage.readOnly) return Effect.die(new Error("a query has no commit after which an effect could run"))
    const services: Context.Context<any> = withoutTransaction(context)
    storage.afterCommit.push(Effect.provideContext(effect, services))
    return Effect.void
  })

const withoutTransaction = Context.omit(
  Clock.Clock,
  Random.Random,
  Scheduler.Scheduler,
  Scheduler.PreventSchedulerYield
)

const sqlite = Statement.makeCompilerSqlite()

/** Effect's compiler, but a list of `sql.in` with more values than a statement may have parameters is one parameter. */
const compiler: Statement.Compiler = {
  dialect: "sqlite",
  compile: (statement, withoutTransform) => {
    const { boundParameters } = Limits.sqlite
    const compiled = sqlite.compile(withLists(statement, boundParameters), withoutTransform)
    // Several lists can be too long together.
    return compiled[1].length > boundParameters ? sqlite.compile(withLists(statement, 1), withoutTransform) : compiled
  },
  get withoutTransform() {
    return compiler
  }
}

/** The statement with each `IN` of more than so many values as one parameter, a JSON array. */
const withLists = (statement: Statement.Fragment, max: number): Statement.Fragment => {
  let isChanged = false
  const segments = statement.segments.map((segment, i, all) => {
    const before = all[i - 1]
    if (segment._tag !== "ArrayHelper" || segment.value.length <= max) return segment
    if (before?._tag !== "Literal" || !endsWithIn.test(before.value)) return segment
    const list = listOf(segment.value)
    if (list === undefined) return segment
    isChanged = true
    return Statement.literal("(SELECT value FROM json_each(?))", [list])
  })
  return isChanged ? Statement.fragment(segments) : statement
}

const endsWithIn = /\bIN\s*$/i

/** The values as a JSON array, if SQLite reads the same values from it. */
const listOf = (values: ReadonlyArray<unknown>): string | undefined => {
  const list: Array<SqlValue> = []
  for (const value of values) {
    if (typeof value === "object" && value !== null && !(value instanceof Date)) return undefined
    const stored = toValue(value)
    if (typeof stored === "number" && !Number.isSafeInteger(stored)) return undefined
    // SQLite ends a text of JSON there.
    if (typeof stored === "string" && stored.includes("\0")) return undefined
    list.push(stored)
  }
  return JSON.stringify(list)
}

const make: Effect.Effect<SqlClient.SqlClient> = Effect.gen(function* () {
  const client = yield* SqlClient.make({
    acquirer: Effect.succeed(connection),
    transactionService: SqlTransaction,
    compiler,
    driver: "sqlite",
    spanAttributes: [["db.system.name", "sqlite"]]
  })
  return Object.assign(client, {
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.flatMap(current, ({ storage }) => new TableWriter(storage).atomically(effect)),
    afterCommit: <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
      Effect.flatMap(current, ({ storage }) => deferUntilCommit(storage, effect))
  })
}).pipe(Effect.provide(Reactivity.layer))

let client: SqlClient.SqlClient | undefined

/**
 * The client: one for all objects, because it works on the storage of the transaction that uses it. `withTransaction` is
 * a nested transaction, as `Table.atomically` is.
 */
export const sqlClient = (): SqlClient.SqlClient => {
  client ??= Effect.runSync(make)
  return client
}
