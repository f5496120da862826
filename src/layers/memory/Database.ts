/**
 * The `Database` port over `node:sqlite`: real SQLite, with the settings and limits of a Durable Object.
 * For tests and for apps in Node; a file keeps the rows beyond the process.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Limits from "../../protocol/Limits.ts"
import { Database, type SqlValue, take } from "../../services/Database.ts"

/** What is used of a connection of `node:sqlite`, so that the declarations do not need the types of Node. */
export interface SqliteConnection {
  readonly limits?: object
  prepare(sql: string): SqliteStatement
  exec(sql: string): void
  close(): void
}

interface SqliteStatement {
  readonly sourceSQL: string
  setReturnArrays(enabled: boolean): void
  columns(): ReadonlyArray<{ readonly name: string }>
  run(...params: ReadonlyArray<SqlValue>): unknown
  get(...params: ReadonlyArray<SqlValue>): unknown
  all(...params: ReadonlyArray<SqlValue>): ReadonlyArray<unknown>
  iterate(...params: ReadonlyArray<SqlValue>): Iterable<unknown>
}

/** How many prepared statements are cached. The oldest is dropped first. */
const maxStatements = 500

/** Where the database is, and how it is written. */
export interface MemoryDatabaseOptions {
  /** A file. The database is in memory unless given. */
  readonly path?: string
  /**
   * When a commit to a file counts as done: `full` (the default) when it is on disk, `normal` when the operating system has
   * it. A lost machine may lose the last commits of `normal`, and never half of one.
   */
  readonly synchronous?: "full" | "normal"
}

/** The limits that are set in SQLite, where this version of Node can set them. */
const sqliteLimits = {
  sqlLength: Limits.sqlite.statementBytes,
  // This and the last four were measured in workerd. `StatementLimits` keeps rows and parameters below it.
  length: 4 * 1024 * 1024,
  likePatternLength: Limits.sqlite.likePatternBytes,
  variableNumber: Limits.sqlite.boundParameters,
  column: Limits.sqlite.columns,
  exprDepth: 100,
  compoundSelect: 5,
  functionArg: 127,
  triggerDepth: 10
}

/** Statements that a Durable Object refuses, because it manages transactions itself. */
const controlsTransaction =
  /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*(?:begin|commit|end|rollback|savepoint|release|attach|detach)\b/i

interface Prepared {
  readonly statement: SqliteStatement
  /** The text after this statement. */
  readonly rest: string
}

const isRow = (row: unknown): row is ReadonlyArray<SqlValue> => Array.isArray(row)

/** Not expected: statements are set to return arrays, which the types of `node:sqlite` do not show. */
const notAnArray = () => new TypeError("node:sqlite returned a row that is not an array")

const toRow = (row: unknown): ReadonlyArray<SqlValue> => {
  if (!isRow(row)) throw notAnArray()
  return row
}

function* toRows(rows: Iterable<unknown>): Generator<ReadonlyArray<SqlValue>> {
  for (const row of rows) yield toRow(row)
}

/** The database of a `node:sqlite` connection. */
export const make = (sqlite: SqliteConnection): Database["Service"] => {
  // Older versions of Node have no `limits`.
  const { limits } = sqlite
  if (limits !== undefined) Object.assign(limits, sqliteLimits)
  const statements = new Map<string, Prepared>()
  const prepare = (sql: string): Prepared => {
    if (controlsTransaction.test(sql)) throw new Error("a statement cannot begin or end a transaction")
    const statement = sqlite.prepare(sql)
    statement.setReturnArrays(true)
    return { statement, rest: sql.slice(statement.sourceSQL.length).trim() }
  }
  const prepared = (sql: string) => {
    let cached = statements.get(sql)
    if (cached === undefined) {
      cached = prepare(sql)
      if (statements.size >= maxStatements) statements.delete(statements.keys().next().value!)
      statements.set(sql, cached)
    }
    return cached
  }
  /** Runs a cached statement. One that failed is dropped: `iterate` of `node:sqlite` would throw its error once more. */
  const running = <A>(sql: string, body: () => A): A => {
    try {
      return body()
    } catch (cause) {
      statements.delete(sql)
      throw cause
    }
  }
  let depth = 0
  return {
    run: (sql, params) => running(sql, () => void prepared(sql).statement.run(...params)),
    all: (sql, params, max) =>
      running(sql, () => {
        let { rest, statement } = prepared(sql)
        while (rest !== "") {
          statement.all()
          ;({ rest, statement } = prepare(rest))
        }
        const rows: ReadonlyArray<unknown> =
          max === undefined ? statement.all(...params) : take(statement.iterate(...params), max)
        if (!rows.every(isRow)) throw notAnArray()
        return {
          // Read lazily: most statements need no names.
          get columns() {
            return statement.columns().map((column) => column.name)
          },
          rows
        }
      }),
    // Not a cached statement: executing it again would reset the rows that are still being read.
    iterate: (sql, params) => toRows(prepare(sql).statement.iterate(...params)),
    transaction(body) {
      const level = depth
      const name = `dormouse_${level}`
      sqlite.exec(level === 0 ? "BEGIN IMMEDIATE" : `SAVEPOINT ${name}`)
      depth = level + 1
      try {
        const result = body()
        sqlite.exec(level === 0 ? "COMMIT" : `RELEASE ${name}`)
        return result
      } catch (cause) {
        sqlite.exec(level === 0 ? "ROLLBACK" : `ROLLBACK TO ${name}; RELEASE ${name}`)
        throw cause
      } finally {
        depth = level
      }
    }
  }
}

/** What is used of Node's `process`, where there is one. */
interface NodeProcess {
  readonly getBuiltinModule?: (name: "node:sqlite") => { readonly DatabaseSync: OpenSqlite } | undefined
}

type OpenSqlite = new (path: string, options: { readonly enableForeignKeyConstraints: boolean }) => SqliteConnection

/** The constructor of `node:sqlite`, taken from the process: an import would keep bundlers for other platforms from this file. */
const sqliteOf = (): OpenSqlite => {
  const process: NodeProcess | undefined = Reflect.get(globalThis, "process")
  const found = process?.getBuiltinModule?.("node:sqlite")
  if (found === undefined)
    throw new Error("this runtime has no node:sqlite: use Node 22.13 or newer, or Deno 2.2 or newer")
  return found.DatabaseSync
}

const open = ({ path, synchronous = "full" }: MemoryDatabaseOptions): SqliteConnection => {
  const sqlite = new (sqliteOf())(path ?? ":memory:", { enableForeignKeyConstraints: true })
  if (path !== undefined) sqlite.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous.toUpperCase()}`)
  return sqlite
}

/**
 * A database in memory, or in a file, that is open as long as the layer. A file belongs to one process: reads see the writes
 * of another one from the next transaction on, and live results do not run again for them.
 */
export const layer = (options: MemoryDatabaseOptions = {}): Layer.Layer<Database> =>
  Layer.effect(
    Database,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => open(options)),
        (sqlite) => Effect.sync(() => sqlite.close())
      ),
      (sqlite) => (options.path === undefined ? make(sqlite) : { ...make(sqlite), foreignWrites: dataVersion(sqlite) })
    )
  )

/** SQLite's number of the commits that other connections made. */
const dataVersion = (sqlite: SqliteConnection): (() => number) => {
  const statement = sqlite.prepare("PRAGMA data_version")
  statement.setReturnArrays(true)
  return () => Number(toRow(statement.get())[0])
}
