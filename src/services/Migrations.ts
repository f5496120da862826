/**
 * What a start of an app would change in a database, as data: for a look before a deployment, and for admins.
 * The changes are made in a transaction that is rolled back, so that SQLite itself says which of them it refuses.
 */
import * as Effect from "effect/Effect"
import type { Plan, TargetData } from "../contract/MigrationPlan.ts"
import type * as Table from "../contract/Table.ts"
import { Database } from "./Database.ts"
import * as SchemaTarget from "./storage/SchemaTarget.ts"
import * as TableSchema from "./storage/TableSchema.ts"

/** What is planned: an app, or the tables of `Storage.layer` with their migrations. */
export interface Planned extends SchemaTarget.DataMigrations {
  readonly tables: ReadonlyArray<Table.Any>
}

export { Plan } from "../contract/MigrationPlan.ts"

const none: Plan = { version: "", isCurrent: false, problems: [], renames: [], statements: [], migrations: [] }

/** What a start of an app changes in a database. */
export const planOf = (database: Database["Service"], { tables, ...data }: Planned): Plan =>
  refusable(none, () => planTo(database, SchemaTarget.targetOf(tables, data)))

/** What a start changes that migrates a database to a target. */
export const planTo = (database: Database["Service"], target: SchemaTarget.Target): Plan => {
  const version = SchemaTarget.versionOf(target)
  return refusable({ ...none, version }, () => {
    const { changes, pending } = TableSchema.dryRun(database, target)
    const statements = changes.statements.map(({ sql, table }) => ({ table, sql }))
    const isCurrent = statements.length + pending.length === 0
    return { ...none, version, isCurrent, renames: changes.renames, statements, migrations: pending }
  })
}

/** What a start changes in the database of an object: of the app that runs there, or of a version that is sent as data. */
export const planFor = (database: Database["Service"], app: () => Planned, asked?: TargetData): Plan =>
  asked === undefined ? planOf(database, app()) : planTo(database, SchemaTarget.ofData(asked))

/** A plan, or one with the problems for which a start is refused. */
const refusable = (refused: Plan, plan: () => Plan): Plan => {
  try {
    return plan()
  } catch (cause) {
    if (!(cause instanceof TableSchema.SchemaMismatch)) throw cause
    return { ...refused, problems: cause.problems }
  }
}

/** What a start of an app changes in the database. Changes nothing. */
export const plan = (planned: Planned): Effect.Effect<Plan, never, Database> =>
  Effect.map(Database, (database) => planOf(database, planned))
