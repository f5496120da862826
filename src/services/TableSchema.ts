import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Table from "../contract/Table.ts"
import * as Limits from "../protocol/Limits.ts"
import type { Database, SqlValue } from "./Database.ts"
import * as RowCodec from "./RowCodec.ts"
import { quote } from "./Storage.ts"

/**
 * The tables of the database against the tables of the app, at boot: what can be added without loss is added and
 * recorded; anything else stops the boot and leaves the data as it was.
 */

const RecordedColumn = Schema.Struct({
  name: Schema.String,
  type: Schema.String,
  kind: Schema.String,
  notNull: Schema.Boolean
})
const RecordedTable = Schema.Struct({
  name: Schema.String,
  key: Schema.String,
  columns: Schema.Array(RecordedColumn),
  indexes: Schema.Array(
    Schema.Struct({ name: Schema.String, columns: Schema.Array(Schema.String), unique: Schema.Boolean })
  ),
  references: Schema.Array(Schema.Struct({ column: Schema.String, table: Schema.String, onDelete: Schema.String }))
})
/** A table as the database was last told to have it. */
export type RecordedTable = typeof RecordedTable.Type

const Recorded = Schema.fromJsonString(Schema.Array(RecordedTable))
const decodeRecorded = Schema.decodeUnknownExit(Recorded)
const encodeRecorded = Schema.encodeSync(Recorded)

/** A difference that cannot be mended without losing data, or a declaration that cannot be carried out. */
export interface Problem {
  readonly table: string
  readonly column?: string
  readonly problem: string
  readonly remedy: string
}

/** The tables of the database do not fit the app's, and the object does not start. Its data is as it was. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>("effect-dormouse/SchemaMismatch")(
  "SchemaMismatch",
  {
    problems: Schema.Array(
      Schema.Struct({
        table: Schema.String,
        column: Schema.optionalKey(Schema.String),
        problem: Schema.String,
        remedy: Schema.String
      })
    )
  }
) {
  override get message() {
    return this.problems
      .map(({ column, problem, remedy, table }) => {
        const where = column === undefined ? `table ${table}` : `table ${table}, column ${column}`
        return `${where}: ${problem}; ${remedy}`
      })
      .join("\n")
  }
}

interface Declared extends RecordedTable {
  readonly dropped: ReadonlySet<string>
  /** SQL literals of the constructor defaults, for rows that are older than their column. */
  readonly defaults: ReadonlyMap<string, string>
}

const literal = (value: SqlValue): string => {
  if (value === null) return "NULL"
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : value > 0 ? "9e999" : "-9e999"
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`
  return `x'${Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("")}'`
}

/** The value that a constructor default gives. Defaults that ask for services have none here. */
const defaultOf = (codec: RowCodec.RowCodec, column: RowCodec.Column): Option.Option<string> => {
  const value = column.schema.ast.context?.constructorDefault
  if (value === undefined) return Option.none()
  const exit = Effect.runSyncExit(value)
  return Exit.isSuccess(exit) ? Option.map(codec.encodeField(column, exit.value), literal) : Option.none()
}

const declare = (table: Table.Any, tables: ReadonlyMap<string, Table.Any>, problems: Array<Problem>): Declared => {
  const codec = RowCodec.make(table)
  const report = (problem: string, remedy: string, column?: string) =>
    problems.push({ table: table.name, ...(column === undefined ? {} : { column }), problem, remedy })
  if (codec.columns.length > Limits.sqlite.columns) {
    report(`has ${codec.columns.length} columns, and the limit columns is ${Limits.sqlite.columns}`, "nest some fields")
  }
  if (codec.key?.notNull !== true) report("its key may be missing", "make the key a required field", table.key)
  for (const index of table.indexes.values()) {
    for (const name of index.columns) {
      const column = codec.columns.find((column) => column.name === name)
      if (column === undefined)
        report(`index ${index.name} names a column that is not there`, "correct the index", name)
      else if (column.kind === "json") {
        report(`index ${index.name} needs an order, and nested values have none`, "index a plain field", name)
      }
    }
  }
  for (const [name, reference] of table.references) {
    const target = reference.table()
    if (tables.get(target.name) !== target) {
      report(`refers to table ${target.name}, which is not one of the app's`, "add it to App.make({ tables })", name)
    }
    if (reference.onDelete === "setNull" && codec.columns.find((column) => column.name === name)?.notNull !== false) {
      report("is set to null on delete, and cannot be null", "make the field optional or nullable", name)
    }
  }
  const defaults = new Map<string, string>()
  for (const column of codec.columns) {
    Option.map(defaultOf(codec, column), (value) => defaults.set(column.name, value))
  }
  return {
    name: table.name,
    key: table.key,
    columns: codec.columns.map(({ kind, name, notNull, type }) => ({ kind, name, notNull, type })),
    indexes: [...table.indexes.values()].map(({ columns, name, unique }) => ({ columns, name, unique })),
    references: [...table.references].map(([column, reference]) => ({
      column,
      table: reference.table().name,
      onDelete: reference.onDelete ?? "restrict"
    })),
    dropped: table.dropped,
    defaults
  }
}

const actions: Record<string, string> = { cascade: "CASCADE", restrict: "RESTRICT", setNull: "SET NULL" }
const indexName = (table: string, index: string) => quote(`${table}.${index}`)

const createIndex = (table: RecordedTable, index: RecordedTable["indexes"][number]): Statement => ({
  table: table.name,
  index: index.name,
  sql: `CREATE ${index.unique ? "UNIQUE " : ""}INDEX ${indexName(table.name, index.name)} ON ${quote(table.name)} (${index.columns.map(quote).join(", ")})`
})

const columnSql = (column: RecordedTable["columns"][number]) =>
  `${quote(column.name)} ${column.type}${column.notNull ? " NOT NULL" : ""}`

const referenceSql = (reference: RecordedTable["references"][number]) =>
  `REFERENCES ${quote(reference.table)} ON DELETE ${actions[reference.onDelete]}`

interface Statement {
  readonly sql: string
  readonly table: string
  readonly index?: string
}

export interface Plan {
  readonly statements: ReadonlyArray<Statement>
  readonly problems: ReadonlyArray<Problem>
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** What has to be done so that the recorded tables become the declared ones. */
const plan = (recorded: ReadonlyArray<RecordedTable>, declared: ReadonlyArray<Declared>): Plan => {
  const statements: Array<Statement> = []
  const problems: Array<Problem> = []
  const before = new Map(recorded.map((table) => [table.name, table]))
  for (const table of declared) {
    const old = before.get(table.name)
    if (old === undefined) {
      // WITHOUT ROWID: the rows live in the key's own tree, so that an insert writes one row and not two.
      statements.push({
        table: table.name,
        sql: `CREATE TABLE ${quote(table.name)} (${[
          ...table.columns.map(columnSql),
          `PRIMARY KEY (${quote(table.key)})`,
          ...table.references.map((reference) => `FOREIGN KEY (${quote(reference.column)}) ${referenceSql(reference)}`)
        ].join(", ")}) WITHOUT ROWID`
      })
      statements.push(...table.indexes.map((index) => createIndex(table, index)))
      continue
    }
    compare(old, table, statements, problems)
  }
  return { statements, problems }
}

const compare = (old: RecordedTable, table: Declared, statements: Array<Statement>, problems: Array<Problem>): void => {
  const report = (column: string | undefined, problem: string, remedy: string) =>
    problems.push({ table: table.name, ...(column === undefined ? {} : { column }), problem, remedy })
  if (old.key !== table.key) report(undefined, `its key changed from ${old.key} to ${table.key}`, "use a new table")
  const oldColumns = new Map(old.columns.map((column) => [column.name, column]))
  const columns = new Map(table.columns.map((column) => [column.name, column]))
  const oldReferences = new Map(old.references.map((reference) => [reference.column, reference]))
  const references = new Map(table.references.map((reference) => [reference.column, reference]))

  for (const index of old.indexes) {
    if (!table.indexes.some((next) => same(next, index))) {
      statements.push({ table: table.name, sql: `DROP INDEX ${indexName(table.name, index.name)}` })
    }
  }
  for (const [name, column] of oldColumns) {
    if (columns.has(name)) continue
    if (table.dropped.has(name)) {
      statements.push({ table: table.name, sql: `ALTER TABLE ${quote(table.name)} DROP COLUMN ${quote(name)}` })
    } else {
      report(
        name,
        `is in the database (${column.type}) and not in the model, and dropping it would lose its values`,
        `declare it again, or allow the loss with Table.make(…, { dropped: ["${name}"] })`
      )
    }
  }
  for (const [name, column] of columns) {
    const before = oldColumns.get(name)
    const reference = references.get(name)
    if (before === undefined) {
      const value = table.defaults.get(name)
      if (column.notNull && value === undefined) {
        report(
          name,
          "is new and required, and the rows that exist have no value for it",
          "make it optional or give it a constructor default"
        )
        continue
      }
      statements.push({
        table: table.name,
        sql:
          `ALTER TABLE ${quote(table.name)} ADD COLUMN ${columnSql(column)}` +
          (value === undefined ? "" : ` DEFAULT ${value}`) +
          (reference === undefined ? "" : ` ${referenceSql(reference)}`)
      })
      continue
    }
    if (before.kind !== column.kind) {
      report(name, `changed from ${before.kind} to ${column.kind}`, "add a column of another name and copy the values")
    } else if (before.notNull !== column.notNull) {
      report(
        name,
        column.notNull
          ? "became required, and rows may have no value for it"
          : "became optional, and the database requires it",
        "add a column of another name and copy the values"
      )
    }
    if (!same(oldReferences.get(name), reference)) {
      report(name, "changed what it refers to", "add a column of another name and copy the values")
    }
  }
  for (const index of table.indexes) {
    if (!old.indexes.some((before) => same(before, index))) statements.push(createIndex(table, index))
  }
}

/**
 * Makes the database's tables the app's, in one transaction. Throws `SchemaMismatch`. When nothing changed since the
 * last boot it costs one read.
 */
export const converge = (database: Database["Service"], tables: ReadonlyArray<Table.Any>): void => {
  const problems: Array<Problem> = []
  const byName = new Map(tables.map((table) => [table.name, table]))
  const declared = tables.map((table) => declare(table, byName, problems))
  if (problems.length > 0) throw new SchemaMismatch({ problems })
  database.transaction(() => {
    database.all(
      "CREATE TABLE IF NOT EXISTS _dormouse_schema (id INTEGER PRIMARY KEY CHECK (id = 1), tables TEXT NOT NULL)",
      []
    )
    const text = database.all("SELECT tables FROM _dormouse_schema", []).rows[0]?.[0]
    const recorded = text === undefined ? Exit.succeed([]) : decodeRecorded(text)
    if (Exit.isFailure(recorded)) throw new Error("the record of the database's tables is damaged")
    const next = plan(recorded.value, declared)
    if (next.problems.length > 0) throw new SchemaMismatch({ problems: next.problems })
    for (const statement of next.statements) execute(database, statement)
    // Tables that the app no longer declares keep their rows, and their record for the day they come back.
    const retired = recorded.value.filter((table) => !byName.has(table.name))
    const record = encodeRecorded([...declared, ...retired])
    if (record !== text) {
      database.all(
        "INSERT INTO _dormouse_schema VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET tables = excluded.tables",
        [record]
      )
    }
  })
}

const execute = (database: Database["Service"], statement: Statement): void => {
  try {
    database.all(statement.sql, [])
  } catch (cause) {
    const unique = statement.index !== undefined && String(cause).includes("UNIQUE constraint failed")
    throw new SchemaMismatch({
      problems: [
        {
          table: statement.table,
          problem: unique
            ? `index ${statement.index} is to be unique, and rows have equal values`
            : `SQLite refused ${statement.sql}: ${String(cause)}`,
          remedy: unique ? "make the rows differ first" : "see the cause"
        }
      ]
    })
  }
}
