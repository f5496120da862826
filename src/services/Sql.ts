import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import { StorageError } from "../contract/Storage.ts"
import { type Database, type Rows, type SqlValue, toObjects } from "./Database.ts"
import type { Session } from "./Storage.ts"

/** The session whose transaction the running handler belongs to. */
export class CurrentSession extends Context.Service<CurrentSession, Session>()("effect-dormouse/CurrentSession") {}

const attempt = (session: Session, sql: string, params: ReadonlyArray<unknown>): Effect.Effect<Rows, SqlError> =>
  Effect.try({
    try: () => {
      if (!sql.isWellFormed()) throw new Error("a statement of SQL must not have half a surrogate pair")
      if (endsTransaction.test(sql)) throw new Error("a statement cannot roll back the transaction that it runs in")
      if (defersForeignKeys.test(sql)) deferring.add(session)
      return session.raw(sql, params.map(toValue))
    },
    catch: (cause) => {
      // A limit says its name; what SQLite said is in the cause.
      const message = cause instanceof StorageError ? cause.reason.message : "Failed to execute statement"
      return new SqlError({ reason: classifySqliteError(cause, { message, operation: "execute" }) })
    }
  })

/**
 * SQLite can roll back the whole transaction under the one who holds it: a Durable Object would be lost, and elsewhere
 * the statements that follow would be committed one by one.
 */
const endsTransaction = /\b(?:or|conflict)\s+rollback\b|\braise\s*\(\s*rollback\b/i

const defersForeignKeys = /\bdefer_foreign_keys\b/i
const deferring = new WeakSet<Session>()

/**
 * To be called before the commit. A reference that is still broken there would fail it, and a Durable Object would be
 * lost with everything else of the same event.
 */
export const checkForeignKeys = (session: Session, database: Database["Service"]): void => {
  if (!deferring.has(session)) return
  const [broken] = database.all("PRAGMA foreign_key_check", []).rows
  if (broken !== undefined)
    throw new Error(`a row of table ${broken[0]} refers to a row of ${broken[2]} that is not there`)
}

/** A parameter as SQLite takes it. */
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

const connectionOf = (session: Session): Connection => {
  const execute: Connection["execute"] = (sql, params, transformRows) =>
    Effect.map(attempt(session, sql, params), (rows) => {
      const records: ReadonlyArray<any> = toObjects(rows)
      return transformRows === undefined ? records : transformRows(records)
    })
  const values: Connection["executeValues"] = (sql, params) =>
    Effect.map(attempt(session, sql, params), (rows) => rows.rows)
  return {
    execute,
    executeRaw: (sql, params) => execute(sql, params, undefined),
    executeStream: (sql, params, transformRows) =>
      Stream.unwrap(Effect.map(execute(sql, params, transformRows), Stream.fromIterable)),
    executeValues: values,
    executeValuesUnprepared: values,
    executeUnprepared: execute
  }
}

/**
 * Effect's own `SqlClient`, inside the transaction of the handler that uses it. `withTransaction` nests as
 * `Table.atomically` does.
 */
export const make: Effect.Effect<SqlClient.SqlClient> = Effect.gen(function* () {
  const session = Effect.withFiber<Session>((fiber) => {
    const session = Context.getOption(fiber.context, CurrentSession)
    return session._tag === "Some" ? Effect.succeed(session.value) : Effect.die(new Error("SQL runs only in a handler"))
  })
  const client = yield* SqlClient.make({
    acquirer: Effect.map(session, connectionOf),
    compiler: Statement.makeCompilerSqlite(),
    driver: "sqlite",
    spanAttributes: [["db.system.name", "sqlite"]]
  })
  return Object.assign(client, {
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.flatMap(session, (session) => session.atomically(effect))
  })
}).pipe(Effect.provide(Reactivity.layer))
