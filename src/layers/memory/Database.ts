/**
 * SQLite through `node:sqlite`, in memory or in a file, with the settings and the limits that a Durable Object has.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Limits from "../../protocol/Limits.ts"
import { Database, type SqlValue, take } from "../../services/Database.ts"

/** Prepared statements that are kept; the oldest goes first. */
const statementsKept = 500

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

/** What node:sqlite can be held to, from the version of Node that can. */
const limits = {
  sqlLength: Limits.sqlite.statementBytes,
  // This and the last four are what workerd was seen to allow. Rows and parameters are held to less.
  length: 4 * 1024 * 1024,
  likePatternLength: Limits.sqlite.likePatternBytes,
  variableNumber: Limits.sqlite.boundParameters,
  column: Limits.sqlite.columns,
  exprDepth: 100,
  compoundSelect: 5,
  functionArg: 127,
  triggerDepth: 10
}

/** Statements that a Durable Object refuses, because its transactions are its own. */
const controlsTransaction =
  /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*(?:begin|commit|end|rollback|savepoint|release|attach|detach)\b/i

interface Prepared {
  readonly statement: StatementSync
  /** The text after the first statement. */
  readonly rest: string
}

/** Real SQLite through `node:sqlite`, with the settings and the limits that a Durable Object has. */
export const make = (sqlite: DatabaseSync): Database["Service"] => {
  Object.assign((sqlite as unknown as { limits?: Record<string, number> }).limits ?? {}, limits)
  const kept = new Map<string, Prepared>()
  const prepare = (sql: string): Prepared => {
    if (controlsTransaction.test(sql)) throw new Error("a statement cannot begin or end a transaction")
    const statement = sqlite.prepare(sql)
    statement.setReturnArrays(true)
    return { statement, rest: sql.slice(statement.sourceSQL.length).trim() }
  }
  const prepared = (sql: string) => {
    let known = kept.get(sql)
    if (known === undefined) {
      known = prepare(sql)
      if (kept.size >= statementsKept) kept.delete(kept.keys().next().value!)
      kept.set(sql, known)
    }
    return known
  }
  let depth = 0
  return {
    run(sql, params) {
      prepared(sql).statement.run(...params)
    },
    all(sql, params, most) {
      let { rest, statement } = prepared(sql)
      while (rest !== "") {
        statement.all()
        ;({ rest, statement } = prepare(rest))
      }
      const rows = most === undefined ? statement.all(...params) : take(statement.iterate(...params), most)
      return {
        columns: statement.columns().map((column) => column.name),
        rows: rows as unknown as ReadonlyArray<ReadonlyArray<SqlValue>>
      }
    },
    // A statement of its own: running a prepared one again would reset the rows that are still being read.
    iterate: (sql, params) =>
      prepare(sql).statement.iterate(...params) as unknown as IterableIterator<ReadonlyArray<SqlValue>>,
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
  readonly getBuiltinModule?: (name: "node:sqlite") => { readonly DatabaseSync: typeof DatabaseSync } | undefined
}

/** The constructor of `node:sqlite`, taken from the process: an import would keep bundlers for other platforms from this file. */
const sqliteOf = (): typeof DatabaseSync => {
  const process: NodeProcess | undefined = Reflect.get(globalThis, "process")
  const found = process?.getBuiltinModule?.("node:sqlite")
  if (found === undefined)
    throw new Error("this runtime has no node:sqlite: use Node 22.13 or newer, or Deno 2.2 or newer")
  return found.DatabaseSync
}

const open = ({ path, synchronous = "full" }: MemoryDatabaseOptions): DatabaseSync => {
  const sqlite = new (sqliteOf())(path ?? ":memory:", { enableForeignKeyConstraints: true })
  if (path !== undefined) sqlite.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous.toUpperCase()}`)
  return sqlite
}

/**
 * A database in memory, or in a file, that is open as long as the layer. A file belongs to one process: another one's writes
 * do not reach live results here.
 */
export const layer = (options: MemoryDatabaseOptions = {}): Layer.Layer<Database> =>
  Layer.effect(
    Database,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => open(options)),
        (sqlite) => Effect.sync(() => sqlite.close())
      ),
      make
    )
  )
