/** Versions of an app over one database, one after the other, as deployments start them. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import type { Migration } from "effect-dormouse/storage"
import { expect } from "vitest"
import { TargetData } from "../../src/contract/MigrationPlan.ts"
import { Database } from "../../src/services/Database.ts"
import { runAll } from "../../src/services/MigrationRunner.ts"
import * as Migrations from "../../src/services/Migrations.ts"
import { type Opened, open } from "../../src/services/Storage.ts"
import * as SchemaTarget from "../../src/services/storage/SchemaTarget.ts"
import { SchemaMismatch } from "../../src/services/storage/TableSchema.ts"

type Any = any
type Fields = Parameters<ReturnType<typeof Model.Class<Any>>>[0]

/** Options of a table, without their types. */
export interface TableOptions {
  readonly key?: string
  readonly indexes?: Record<string, Table.IndexInput<string>>
  readonly references?: Record<string, Table.Reference>
  readonly dropped?: ReadonlyArray<string>
  readonly renamedFrom?: {
    readonly table?: string | ReadonlyArray<string>
    readonly columns?: Record<string, string | ReadonlyArray<string>>
  }
}

/** A table as one version of an app declares it. */
export const declare = (name: string, fields: Fields, { key = "id", ...options }: TableOptions = {}): Any => {
  class Row extends Model.Class<Any>(`versions/${name}`)(fields) {}
  return Table.make(name, Row, { key: key as never, ...(options as {}) })
}

/** What a version declares. */
export interface Version {
  readonly tables: ReadonlyArray<Any>
  readonly migrations?: ReadonlyArray<Migration.AnyMigration>
  readonly droppedTables?: ReadonlyArray<string>
}

/** Runs a body with a new, empty database of one platform. */
export type WithDatabase = (body: (database: Database["Service"]) => Promise<void>) => Promise<void>

/** The definitions and rows of a database, as text. */
export const dump = (database: Database["Service"]): string => {
  const objects = database.all("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '_cf%' ORDER BY name", [])
  const tables = objects.rows.filter(([type]) => type === "table").map(([, name]) => String(name))
  return JSON.stringify([
    objects.rows,
    tables.map((name) => [name, database.all(`SELECT * FROM "${name}" ORDER BY 1`, []).rows])
  ])
}

/** A version that has started. */
export class Started {
  readonly opened: Opened

  constructor(opened: Opened) {
    this.opened = opened
  }

  /** Runs a mutation. Throws its failure. */
  write<A, E>(effect: Effect.Effect<A, E, any>): A {
    return Effect.runSync(Effect.suspend(() => this.opened.runner.write(effect, this.opened.services)))
  }

  /** The rows of a table. */
  rows(table: Any): ReadonlyArray<Any> {
    const query: Effect.Effect<ReadonlyArray<Any>, unknown, any> = table.query()
    const { exit } = this.opened.runner.read(query, this.opened.services, false)
    return Effect.runSync(Effect.suspend(() => exit)).map((row) => ({ ...row }))
  }
}

/** Starts a version, without the steps of its migrations. */
export const begin = (database: Database["Service"], version: Version): Started =>
  new Started(
    Effect.runSync(open({ ...version, afterCommit: () => {} }).pipe(Effect.provideService(Database, database)))
  )

/** Starts a version, and runs its migrations to the end. */
export const start = async (database: Database["Service"], version: Version): Promise<Started> => {
  const started = begin(database, version)
  await Effect.runPromise(runAll(started.opened.migrations))
  return started
}

const decodeData = Schema.decodeUnknownSync(Schema.fromJsonString(TargetData))

/** What a start changes. Checks that a version which is sent as data, and not declared here, changes the same. */
export const planOf = (database: Database["Service"], version: Migrations.Planned): Migrations.Plan => {
  const plan = Migrations.planOf(database, version)
  let target: SchemaTarget.Target
  try {
    target = SchemaTarget.targetOf(version.tables, version)
  } catch {
    return plan
  }
  const data = decodeData(JSON.stringify(SchemaTarget.toData(target)))
  expect(Migrations.planTo(database, SchemaTarget.ofData(data))).toEqual(plan)
  return plan
}

/** The message of a start that is refused. Checks that it changed nothing, and that a plan says the same. */
export const refusal = (database: Database["Service"], version: Version): string => {
  const before = dump(database)
  const { problems } = planOf(database, version)
  expect(dump(database)).toBe(before)
  const error = Effect.runSync(
    Effect.flip(open({ ...version, afterCommit: () => {} })).pipe(Effect.provideService(Database, database))
  )
  expect(dump(database)).toBe(before)
  expect(error).toBeInstanceOf(SchemaMismatch)
  expect(problems).toEqual(error.problems)
  return error.message
}

/** The columns of a table in the database. */
export const columnsOf = (database: Database["Service"], table: string): ReadonlyArray<string> =>
  database.all(`PRAGMA table_info("${table}")`, []).rows.map(([, name]) => String(name))

/** The names of the indexes that are declared. */
export const indexesOf = (database: Database["Service"]): ReadonlyArray<string> =>
  database
    .all("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name", [])
    .rows.map(([name]) => String(name))
