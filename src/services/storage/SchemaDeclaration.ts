/**
 * The tables as an app declares them, in the terms of the database: columns, indexes, references and defaults.
 * What SQLite cannot implement is found here, without a database.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Result from "effect/Result"
import type { Problem } from "../../contract/MigrationPlan.ts"
import * as Table from "../../contract/Table.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import * as RowCodec from "./RowCodec.ts"
import { encodeRecorded, type RecordedColumn, type RecordedTable, reporter, SchemaMismatch } from "./SchemaRecord.ts"
import { indexName } from "./TableInfo.ts"

/** A table as an app declares it. */
export interface Declared extends RecordedTable {
  readonly dropped: ReadonlySet<string>
  /** The SQL literal of a column's constructor default, for rows that exist before the column does. */
  readonly defaultOf: (column: string) => string | undefined
}

const literal = (value: SqlValue): string | undefined => {
  if (value === null) return "NULL"
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : value > 0 ? "9e999" : "-9e999"
  if (typeof value === "string") return value.includes("\0") ? undefined : `'${value.replaceAll("'", "''")}'`
  return `x'${Array.from(value, (byte: number) => byte.toString(16).padStart(2, "0")).join("")}'`
}

/** The SQL literal of a constructor default. `undefined` for a default that needs services, or fails. */
const defaultOf = (codec: RowCodec.RowCodec, column: RowCodec.Column): string | undefined => {
  const value = column.schema.ast.context?.constructorDefault
  const exit = value && Effect.runSyncExit(value)
  if (exit === undefined || Exit.isFailure(exit)) return undefined
  return Result.match(codec.encodeField(column, exit.value), { onFailure: () => undefined, onSuccess: literal })
}

/** A column as it is recorded. */
export const toRecorded = (column: RowCodec.Column): RecordedColumn => {
  const { kind, name, notNull, type } = column
  return { kind, name, notNull, type, ...(kind === "json" ? { nulls: RowCodec.nullsOf(column) } : {}) }
}

const declare = (
  table: Table.Any,
  codecs: ReadonlyMap<Table.Any, RowCodec.RowCodec>,
  problems: Array<Problem>
): Declared => {
  const codec = codecs.get(table)!
  const column = (name: string) => codec.columns[codec.columnIndex.get(name) ?? -1]
  const report = reporter(problems, table.name)
  if (codec.columns.length > Limits.sqlite.columns) {
    report(`has ${codec.columns.length} columns, and the limit columns is ${Limits.sqlite.columns}`, "nest some fields")
  }
  if (codec.key?.notNull !== true) report("is the key and may be missing", "make it a required field", table.key)
  else if (codec.key.kind === "json") {
    report("is the key and needs an order, and nested values have none", "use a plain field as key", table.key)
  }
  const insertable = Table.fieldsOf(table.model.insert)
  for (const { generated, name, schema } of codec.columns) {
    const filled = name in insertable || generated !== undefined || schema.ast.context?.constructorDefault !== undefined
    if (!filled && schema.ast.context?.isOptional !== true) {
      report(
        "is not in the model's insert variant, and nothing else fills it in",
        "use Table.key, Table.insertedAt or Table.updatedAt, or let inserts give it",
        name
      )
    }
  }
  for (const index of table.indexes.values()) {
    for (const name of index.columns) {
      const kind = column(name)?.kind
      if (kind === undefined) {
        report(`index ${index.name} names a column that does not exist`, "correct the index", name)
      } else if (kind === "json") {
        report(`index ${index.name} needs an order, and nested values have none`, "index a plain field", name)
      }
    }
  }
  for (const [name, reference] of table.references) {
    const target = reference.table()
    const key = codecs.get(target)?.key
    const kind = column(name)?.kind
    if (kind === undefined) report("is a reference and not a column", "correct the reference", name)
    else if (key === undefined) {
      report(`refers to table ${target.name}, which is not one of the app's`, "add it to App.make({ tables })", name)
    } else if (key.kind !== kind) {
      report(`is ${kind} and refers to table ${target.name}, whose key is ${key.kind}`, "give both the same type", name)
    }
    if (reference.onDelete === "setNull" && column(name)?.notNull === true) {
      report("is set to null on delete, and cannot be null", "make the field optional or nullable", name)
    }
  }
  return {
    name: table.name,
    key: table.key,
    columns: codec.columns.map(toRecorded),
    indexes: [...table.indexes.values()].map(({ columns, name, unique }) => ({ columns, name, unique })),
    references: [...table.references].map(([column, reference]) => ({
      column,
      table: reference.table().name,
      onDelete: reference.onDelete ?? "restrict"
    })),
    ...(table.renamedFrom && { renamedFrom: table.renamedFrom }),
    dropped: table.dropped,
    defaultOf: (name) => defaultOf(codec, column(name)!)
  }
}

/** Checks the declared tables, without the database. Throws `SchemaMismatch`. */
const declareAll = (tables: ReadonlyArray<Table.Any>): ReadonlyArray<Declared> => {
  const problems: Array<Problem> = []
  const codecs = new Map(tables.map((table) => [table, RowCodec.of(table)]))
  const declared = tables.map((table) => declare(table, codecs, problems))
  const names = new Set<string>()
  for (const { name } of tables) {
    if (names.has(name.toLowerCase())) reporter(problems, name)("has the name of another table", "rename one of them")
    names.add(name.toLowerCase())
  }
  // SQLite has one namespace for tables and indexes.
  const objects = new Map(tables.map(({ name }) => [name.toLowerCase(), `table ${name} in SQLite`]))
  for (const { indexes, name } of tables) {
    for (const index of indexes.keys()) {
      const full = indexName(name, index)
      const other = objects.get(full.toLowerCase())
      if (other !== undefined) {
        reporter(problems, name)(`index ${index} has the name of ${other}`, "rename one of them")
      }
      objects.set(full.toLowerCase(), `another index in SQLite, ${full}`)
    }
  }
  if (problems.length > 0) throw new SchemaMismatch({ problems })
  return declared
}

/** The tables of an app. */
export interface Declaration {
  readonly tables: ReadonlyArray<Declared>
  /** What is recorded when these tables are all that there are. */
  readonly record: string
}

/** Checks each list of tables once: an object that starts again in the same isolate does not check them again. */
export const declarationOf: (tables: ReadonlyArray<Table.Any>) => Declaration = memoize((tables) => {
  const declared = declareAll(tables)
  return { tables: declared, record: encodeRecorded(declared) }
})

/**
 * The default of a column in SQL: for rows that exist before the column does, and for those that a version of the app
 * inserts which does not declare it. None for a reference: SQLite can add one only without, and its row may not exist.
 */
export const defaultSql = (table: Declared, column: string): string | undefined =>
  table.references.some((reference) => reference.column === column) ? undefined : table.defaultOf(column)
