/**
 * What a start migrates a database to: the declared tables, the migrations of their rows, and the tables that may be dropped.
 * A target can be sent as data: a deployment then says what a start of a version would change that is not deployed yet.
 */
import * as Schema from "effect/Schema"
import type { AnyMigration } from "../../contract/Migration.ts"
import { TargetData } from "../../contract/MigrationPlan.ts"
import type * as Table from "../../contract/Table.ts"
import * as Checksum from "../../protocol/Checksum.ts"
import { type Declaration, type Declared, declarationOf, defaultSql } from "./SchemaDeclaration.ts"
import { type Filling, fillingOf } from "./SchemaFilling.ts"
import { encodeRecorded } from "./SchemaRecord.ts"

/** What an app declares for the migration of its tables, beside the tables. */
export interface DataMigrations {
  /** Migrations of rows, in their order. */
  readonly migrations?: ReadonlyArray<AnyMigration> | undefined
  /** Tables that the app does not have any more, and whose rows may be lost. */
  readonly droppedTables?: ReadonlyArray<string> | undefined
}

/** What a start migrates a database to. */
export interface Target extends Declaration {
  readonly migrations: ReadonlyArray<Filling>
  readonly droppedTables: ReadonlyArray<string>
}

/** The target of an app. Throws `SchemaMismatch`. */
export const targetOf = (
  tables: ReadonlyArray<Table.Any>,
  { droppedTables = [], migrations = [] }: DataMigrations
): Target => ({ ...declarationOf(tables), migrations: migrations.map(fillingOf), droppedTables })

/** What the version of an app's tables is made of. */
interface Versioned extends Pick<Declaration, "record"> {
  readonly migrations?: ReadonlyArray<{ readonly id: string }> | undefined
  readonly droppedTables?: ReadonlyArray<string> | undefined
}

/** A checksum, by which operators see which objects have which version of the tables. */
export const versionOf = ({ droppedTables = [], migrations = [], record }: Versioned): string => {
  const ids = migrations.map(({ id }) => id)
  const text = ids.length + droppedTables.length === 0 ? record : JSON.stringify([record, ids, droppedTables])
  return (Checksum.ofText(text) >>> 0).toString(16).padStart(8, "0")
}

const decodeData = Schema.decodeUnknownSync(TargetData)

/** A target as data. */
export const toData = ({ droppedTables, migrations, tables }: Target): TargetData =>
  decodeData({
    tables: tables.map((table) => {
      const { columns, dropped, indexes, key, name, references, renamedFrom } = table
      const defaults = columns.flatMap((column) => {
        const value = defaultSql(table, column.name)
        return value === undefined ? [] : [[column.name, value] as const]
      })
      const rest = { dropped: [...dropped], defaults: Object.fromEntries(defaults) }
      return { name, key, columns, indexes, references, ...(renamedFrom && { renamedFrom }), ...rest }
    }),
    migrations: migrations.map(({ fills, from, ...rest }) => ({
      ...rest,
      from: [...from.values()],
      fills: [...fills]
    })),
    droppedTables
  })

/** The target that was sent as data. */
export const ofData = ({ droppedTables, migrations, tables }: TargetData): Target => {
  const declared = tables.map(
    ({ defaults, dropped, ...table }): Declared => ({
      ...table,
      dropped: new Set(dropped),
      defaultOf: (column) => (Object.hasOwn(defaults, column) ? defaults[column] : undefined)
    })
  )
  return {
    tables: declared,
    record: encodeRecorded(declared),
    migrations: migrations.map(({ fills, from, ...rest }) => ({
      ...rest,
      from: new Map(from.map((column) => [column.name, column])),
      fills: new Set(fills)
    })),
    droppedTables
  }
}
