/**
 * What a start of an app would change in a database, as data: for a look before a deployment, and for admins.
 * The changes are made in a transaction that is rolled back, so that SQLite itself says which of them it refuses.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Table from "../contract/Table.ts"
import { Database } from "./Database.ts"
import { Problem } from "./storage/SchemaRecord.ts"
import * as TableSchema from "./storage/TableSchema.ts"

/** What is planned: an app, or the tables of `Storage.layer` with their migrations. */
export interface Planned extends TableSchema.DataMigrations {
  readonly tables: ReadonlyArray<Table.Any>
}

/** What a start changes. */
export const Plan = Schema.Struct({
  /** The version of the app's tables and migrations, as `tenants.list` shows it. */
  version: Schema.String,
  /** Whether a start changes nothing. */
  isCurrent: Schema.Boolean,
  /** Why a start is refused. It then changes nothing. */
  problems: Schema.Array(Problem),
  /** Tables and columns that get another name. Their statements are in `statements` too. */
  renames: Schema.Array(
    Schema.Struct({
      /** The table, by its new name. */
      table: Schema.String,
      kind: Schema.Literals(["table", "column"]),
      from: Schema.String,
      to: Schema.String
    })
  ),
  /** The statements of the start, in their order. */
  statements: Schema.Array(Schema.Struct({ table: Schema.String, sql: Schema.String })),
  /** The migrations of rows that have yet to run, in their order. */
  migrations: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      table: Schema.String,
      /** Whether calls are answered while it runs. */
      isConcurrent: Schema.Boolean,
      /** Rows that it has yet to visit. */
      rows: Schema.Int,
      /** Why its last step failed, if it did. */
      failure: Schema.NullOr(Schema.String)
    })
  )
})
/** What a start changes. */
export type Plan = typeof Plan.Type

/** What a start of an app changes in a database. */
export const planOf = (database: Database["Service"], planned: Planned): Plan => {
  const { droppedTables, migrations, tables } = planned
  const data = { droppedTables, migrations }
  const none = { version: "", isCurrent: false, problems: [], renames: [], statements: [], migrations: [] }
  try {
    const version = TableSchema.version(tables, data)
    const { changes, pending } = TableSchema.dryRun(database, tables, data)
    const statements = changes.statements.map(({ sql, table }) => ({ table, sql }))
    return {
      ...none,
      version,
      isCurrent: statements.length + pending.length === 0,
      renames: changes.renames,
      statements,
      migrations: pending
    }
  } catch (cause) {
    if (!(cause instanceof TableSchema.SchemaMismatch)) throw cause
    return { ...none, version: versionOf(planned), problems: cause.problems }
  }
}

/** The version of tables, if SQLite can implement them. */
const versionOf = ({ tables, ...data }: Planned): string => {
  try {
    return TableSchema.version(tables, data)
  } catch {
    return ""
  }
}

/** What a start of an app changes in the database. Changes nothing. */
export const plan = (planned: Planned): Effect.Effect<Plan, never, Database> =>
  Effect.map(Database, (database) => planOf(database, planned))
