/**
 * Migrates the database's tables to what the app declares, when the object starts.
 * Changes that lose nothing are made and recorded. Any other change stops the start and leaves the data as it was.
 */
import type { AnyMigration } from "../../contract/Migration.ts"
import type * as Table from "../../contract/Table.ts"
import type { InternalTable } from "../../contract/Transactional.ts"
import { type Database, rollBack } from "../Database.ts"
import * as MigrationStates from "./MigrationStates.ts"
import { declarationOf } from "./SchemaDeclaration.ts"
import { isIn, type Objects, objectsOf, withoutDropped } from "./SchemaObjects.ts"
import { plan } from "./SchemaPlan.ts"
import {
  encodeRecorded,
  execute,
  readRecord,
  recorded,
  SchemaMismatch,
  type Statement,
  schemaTable
} from "./SchemaRecord.ts"
import * as SchemaRenames from "./SchemaRenames.ts"
import { type DataMigrations, type Target, targetOf } from "./SchemaTarget.ts"
import { quote } from "./TableInfo.ts"

export { type RecordedTable, recorded, SchemaMismatch } from "./SchemaRecord.ts"

/** Checks the declared tables before there is a database. Throws `SchemaMismatch`. */
export const check = (tables: ReadonlyArray<Table.Any>): void => {
  declarationOf(tables)
}

/** Internal tables that have every commit: an app without their service drops them, because they would have a gap. */
const gapless = ["_dormouse_changes"]

/** What a migration has changed. */
export interface Changes {
  readonly statements: ReadonlyArray<Statement>
  readonly renames: ReadonlyArray<SchemaRenames.Rename>
}

const noChanges: Changes = { statements: [], renames: [] }

/**
 * Migrates the database's tables to the app's and creates missing internal tables, in one transaction. Throws
 * `SchemaMismatch`. If nothing changed since the last start, it only reads. Migrations of rows have yet to run afterwards.
 */
export const migrate = (
  database: Database["Service"],
  tables: ReadonlyArray<Table.Any>,
  internal: ReadonlyArray<InternalTable> = [],
  data: DataMigrations = {}
): Changes => {
  const { record: expected, tables: declared } = declarationOf(tables)
  const { droppedTables = [], migrations = [] } = data
  const objects = objectsOf(database)
  const own = migrations.length > 0 ? [schemaTable, MigrationStates.migrationTable] : [schemaTable]
  const missing = [...own, ...internal].filter(({ name }) => !objects.has(name))
  const left = gapless.filter((name) => objects.has(name) && !internal.some((table) => table.name === name))
  const isKnown = missing.length + left.length === 0 && readRecord(database) === expected
  // Most starts find everything in place, and need no transaction.
  if (isKnown && declared.every(isIn(objects)) && !droppedTables.some((name) => objects.has(name))) {
    const states = statesOf(database, objects)
    // A migration that has yet to run may need columns for the values before, also where no table is declared differently.
    const areDone = migrations.every(({ id }) => states.get(id)?.state === "done")
    if (areDone && !isForgotten(states, migrations)) return noChanges
  }
  return database.transaction(() => {
    for (const { create } of missing) database.all(create, [])
    for (const name of left) database.all(`DROP TABLE ${name}`, [])
    return change(database, targetOf(tables, data))
  })
}

/** A migration of rows that has yet to run. */
export interface Pending {
  readonly id: string
  readonly table: string
  readonly isConcurrent: boolean
  /** Rows that it has yet to visit. */
  readonly rows: number
  readonly failure: string | null
}

/** What `migrate` would change, and which migrations of rows would then have to run. Changes nothing. */
export const dryRun = (
  database: Database["Service"],
  target: Target
): { readonly changes: Changes; readonly pending: ReadonlyArray<Pending> } =>
  rollBack(database.transaction, () => {
    const objects = objectsOf(database)
    for (const { create, name } of [schemaTable, MigrationStates.migrationTable]) {
      if (!objects.has(name)) database.all(create, [])
    }
    const changes = change(database, target)
    const states = MigrationStates.read(database)
    const pending = target.migrations.flatMap(({ id, isConcurrent, table }) => {
      const state = states.get(id)
      if (state?.state === "done") return []
      const count = Number(database.all(`SELECT count(*) FROM ${quote(table)}`, []).rows[0]?.[0])
      const rows = Math.max(0, count - (state?.rows ?? 0))
      return [{ id, table, isConcurrent, rows, failure: state?.failure ?? null }]
    })
    return { changes, pending }
  })

/** The states of migrations, if any has begun. */
const statesOf = (database: Database["Service"], objects: Objects) =>
  objects.has(MigrationStates.migrationTable.name)
    ? MigrationStates.read(database)
    : new Map<string, MigrationStates.MigrationState>()

/** Whether a migration has begun that the app does not have. */
const isForgotten = (
  states: ReadonlyMap<string, MigrationStates.MigrationState>,
  migrations: ReadonlyArray<AnyMigration>
): boolean => [...states].some(([id, { state }]) => state !== "done" && !migrations.some((known) => known.id === id))

/** Renames, then changes what differs. Runs in a transaction. */
const change = (database: Database["Service"], { droppedTables, migrations, tables: declared }: Target): Changes => {
  const text = readRecord(database)
  const before = text === undefined ? [] : recorded(database)
  const renamed = SchemaRenames.decide(before, declared, rowsOf(database, objectsOf(database)), droppedTables)
  refuse(renamed.problems)
  for (const statement of renamed.statements) execute(database, statement)
  const objects = objectsOf(database)
  const states = statesOf(database, objects)
  const isDone = (id: string) => states.get(id)?.state === "done"
  const pending = migrations.filter(({ id }) => !isDone(id))
  const next = plan(withoutDropped(renamed.recorded, declared, objects), declared, objects, {
    pending: (table) => pending.filter((migration) => migration.table === table),
    isDone,
    // A migration of rows may read them by SQL.
    droppedTables: pending.length > 0 ? [] : droppedTables
  })
  refuse(next.problems)
  for (const statement of next.statements) execute(database, statement)
  for (const id of next.vacuous) MigrationStates.write(database, id, MigrationStates.vacuous)
  const forgotten = [...states.keys()].filter((id) => !isDone(id) && !migrations.some((known) => known.id === id))
  for (const id of new Set([...next.abandoned, ...forgotten])) MigrationStates.forget(database, id)
  const record = encodeRecorded(next.record)
  if (record !== text) {
    database.all("INSERT INTO _dormouse_schema VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET tables = excluded.tables", [
      record
    ])
  }
  return { statements: [...renamed.statements, ...next.statements], renames: renamed.renames }
}

const refuse = (problems: SchemaMismatch["problems"]): void => {
  if (problems.length > 0) throw new SchemaMismatch({ problems })
}

/** Looks up rows for the decision about renames. */
const rowsOf = (database: Database["Service"], objects: Objects): SchemaRenames.Rows => ({
  exists: (table, column) => (column === undefined ? objects.has(table) : objects.get(table)?.has(column) === true),
  has: (table, column) => {
    const where = column === undefined ? "" : ` WHERE ${quote(column)} IS NOT NULL`
    return database.all(`SELECT 1 FROM ${quote(table)}${where} LIMIT 1`, []).rows.length > 0
  }
})
