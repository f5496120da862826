/**
 * A database that nobody has written to. It has no tables: the first write creates them, in its own transaction.
 * Until then reads find what they would find in empty tables, and leave nothing behind.
 */
import { type Database, type Rows, rollBack } from "../Database.ts"

/** The table in which an object keeps the name and state of its tenant, before anybody has written to it. */
export const tenantTable = "_dormouse_tenant"

/** Tables that the platform keeps in the database, and those that its simulator for development keeps there. */
const isPlatforms = "name GLOB '_cf_*' OR name GLOB '__miniflare_*'"

/** Whether a database has no tables but that of the tenant's name and those of the platform. */
export const isEmpty = (database: Database["Service"]): boolean =>
  database.all(`SELECT 1 FROM sqlite_master WHERE NOT (name = '${tenantTable}' OR ${isPlatforms}) LIMIT 1`, []).rows
    .length === 0

/** An empty database. `create` creates the tables; it runs in a transaction, again if that was rolled back. */
export const make = (database: Database["Service"], create: () => void): Database["Service"] => {
  let hasTables = false
  const tasks: Array<() => void> = []
  const withTables = <A>(body: () => A): A => {
    try {
      return database.transaction(() => {
        create()
        hasTables = true
        return body()
      })
    } catch (cause) {
      hasTables = false
      throw cause
    }
  }
  const write = <A>(body: () => A): A =>
    withTables(() => {
      for (const task of tasks) task()
      return body()
    })
  /** Statements of which the tables cannot be told from their text: raw SQL. */
  const read = <A>(body: () => A): A => rollBack(withTables, body)
  const all = (sql: string, params: Parameters<typeof database.all>[1], max?: number): Rows => {
    const { columns, rows, rowsRead } = database.all(sql, params, max)
    // Columns and counts are read lazily, and the tables are gone after this.
    return { columns, rows, ...(rowsRead !== undefined && { rowsRead }) }
  }
  return {
    all: (sql, params, max) => (hasTables ? database.all(sql, params, max) : read(() => all(sql, params, max))),
    run: (sql, params) => (hasTables ? database.run(sql, params) : write(() => database.run(sql, params))),
    iterate: (sql, params) =>
      hasTables
        ? database.iterate(sql, params)
        : read(() => Array.from(database.iterate(sql, params)))[Symbol.iterator](),
    transaction: (body) => (hasTables ? database.transaction(body) : write(body)),
    isUnwritten: () => !hasTables,
    whenWritten: (task) => {
      if (hasTables) task()
      else tasks.push(task)
    },
    ...(database.foreignWrites && { foreignWrites: database.foreignWrites })
  }
}
