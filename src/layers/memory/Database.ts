import { DatabaseSync, type StatementSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Database, type SqlValue } from "../../services/Database.ts"

/** Prepared statements that are kept; the oldest goes first. */
const statementsKept = 500

export interface Options {
  /** A file, or `:memory:` unless given. */
  readonly path?: string
}

/** Real SQLite through `node:sqlite`, with the settings that a Durable Object has. */
export const make = (sqlite: DatabaseSync): Database["Service"] => {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string) => {
    const statement = sqlite.prepare(sql)
    statement.setReturnArrays(true)
    return statement
  }
  const prepared = (sql: string) => {
    let statement: StatementSync | undefined = statements.get(sql)
    if (statement === undefined) {
      if (statements.size >= statementsKept) statements.delete(statements.keys().next().value!)
      statement = prepare(sql)
      statements.set(sql, statement)
    }
    return statement
  }
  let depth = 0
  return {
    all(sql, params) {
      const statement = prepared(sql)
      const rows = statement.all(...params) as unknown as ReadonlyArray<ReadonlyArray<SqlValue>>
      return { columns: statement.columns().map((column) => column.name), rows }
    },
    // A statement of its own: running a prepared one again would reset the rows that are still being read.
    iterate: (sql, params) => prepare(sql).iterate(...params) as unknown as IterableIterator<ReadonlyArray<SqlValue>>,
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

/** A database in memory, or in a file, that lives as long as the layer. */
export const layer = (options?: Options): Layer.Layer<Database> =>
  Layer.effect(
    Database,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(options?.path ?? ":memory:", { enableForeignKeyConstraints: true })),
        (sqlite) => Effect.sync(() => sqlite.close())
      ),
      make
    )
  )
