/**
 * Migrates the database's tables to what the app declares, when the object starts.
 * Changes that lose nothing are made and recorded. Any other change stops the start and leaves the data as it was.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Table from "../../contract/Table.ts"
import type { InternalTable } from "../../contract/Transactional.ts"
import * as Checksum from "../../protocol/Checksum.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { Database, SqlValue } from "../Database.ts"
import * as RowCodec from "./RowCodec.ts"
import { indexName, quote } from "./TableInfo.ts"

const RecordedColumn = Schema.Struct({
  name: Schema.String,
  type: Schema.String,
  kind: Schema.String,
  notNull: Schema.Boolean,
  /** Of a column of nested values. Records of earlier versions lack it. */
  nulls: Schema.optionalKey(Schema.Literals(["none", "sql", "json"])),
  /** The column that has the values of a reference while the app does not declare it. */
  movedTo: Schema.optionalKey(Schema.String)
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
type RecordedColumn = typeof RecordedColumn.Type
type RecordedIndex = RecordedTable["indexes"][number]
/** A table as the last migration left it. */
export type RecordedTable = typeof RecordedTable.Type

const Recorded = Schema.fromJsonString(Schema.Array(RecordedTable))
const decodeRecorded = Schema.decodeUnknownExit(Recorded)
const encodeRecorded = Schema.encodeSync(Recorded)

/** A change that would lose data, or a declaration that SQLite cannot implement. */
export interface Problem {
  readonly table: string
  readonly column?: string
  /** What is wrong. */
  readonly problem: string
  /** What the author can do about it. */
  readonly remedy: string
}

/** The database cannot be migrated to the app's tables, and the object does not start. Its data is unchanged. */
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

type Report = (problem: string, remedy: string, column?: string) => void

const reporter =
  (problems: Array<Problem>, table: string): Report =>
  (problem, remedy, column) =>
    problems.push({ table, ...(column === undefined ? {} : { column }), problem, remedy })

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
    columns: codec.columns.map((column) => {
      const { kind, name, notNull, type } = column
      return { kind, name, notNull, type, ...(kind === "json" ? { nulls: RowCodec.nullsOf(column) } : {}) }
    }),
    indexes: [...table.indexes.values()].map(({ columns, name, unique }) => ({ columns, name, unique })),
    references: [...table.references].map(([column, reference]) => ({
      column,
      table: reference.table().name,
      onDelete: reference.onDelete ?? "restrict"
    })),
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

interface Declaration {
  readonly tables: ReadonlyArray<Declared>
  /** What is recorded when these tables are all that there are. */
  readonly record: string
}

/** Checks each list of tables once: an object that starts again in the same isolate does not check them again. */
const declarationOf: (tables: ReadonlyArray<Table.Any>) => Declaration = memoize((tables) => {
  const declared = declareAll(tables)
  return { tables: declared, record: encodeRecorded(declared) }
})

/** Checks the declared tables before there is a database. Throws `SchemaMismatch`. */
export const check = (tables: ReadonlyArray<Table.Any>): void => {
  declarationOf(tables)
}

/** A checksum of the declared tables, by which operators see which objects have which version of them. */
export const version = (tables: ReadonlyArray<Table.Any>): string =>
  (Checksum.ofText(declarationOf(tables).record) >>> 0).toString(16).padStart(8, "0")

const actions: Record<string, string> = { cascade: "CASCADE", restrict: "RESTRICT", setNull: "SET NULL" }

const createIndex = (table: string, index: RecordedIndex): Statement => ({
  table,
  index: index.name,
  sql: `CREATE ${index.unique ? "UNIQUE " : ""}INDEX ${quote(indexName(table, index.name))} ON ${quote(table)} (${index.columns.map(quote).join(", ")})`
})

const columnSql = (column: RecordedColumn, value?: string) =>
  `${quote(column.name)} ${column.type}${column.notNull ? " NOT NULL" : ""}${value === undefined ? "" : ` DEFAULT ${value}`}`

/**
 * The default of a column in SQL: for rows that exist before the column does, and for those that a version of the app
 * inserts which does not declare it. None for a reference: SQLite can add one only without, and its row may not exist.
 */
const defaultSql = (table: Declared, column: string): string | undefined =>
  table.references.some((reference) => reference.column === column) ? undefined : table.defaultOf(column)

/** SQLite adds a required column only with a default. This one stands for none: a literal that nothing else writes so. */
const noDefault = "0e0"

/** Whether rows may be inserted without a required column, from its default as SQLite returns it. */
const hasDefault = (value: SqlValue | undefined) => value !== undefined && value !== null && value !== noDefault

const referenceSql = (reference: RecordedTable["references"][number]) =>
  `REFERENCES ${quote(reference.table)} ON DELETE ${actions[reference.onDelete]}`

interface Statement {
  readonly sql: string
  readonly table: string
  readonly index?: string
  /** The column that it drops. */
  readonly drops?: string | undefined
}

/** A migration: its statements, the problems that prevent it, and what is recorded after it. */
interface Migration {
  readonly statements: ReadonlyArray<Statement>
  readonly problems: ReadonlyArray<Problem>
  readonly record: ReadonlyArray<RecordedTable>
}

/** Plans the migration of the recorded tables to the declared tables. */
const plan = (
  recorded: ReadonlyArray<RecordedTable>,
  declared: ReadonlyArray<Declared>,
  objects: Objects
): Migration => {
  const statements: Array<Statement> = []
  const problems: Array<Problem> = []
  const changes: Array<Statement> = []
  const record: Array<RecordedTable> = []
  const keyOf = (name: string) => declared.find((table) => table.name === name)!.key
  const before = new Map(recorded.map((table) => [table.name, table]))
  for (const table of declared) {
    const old = before.get(table.name)
    if (old === undefined) {
      // WITHOUT ROWID stores the rows in the tree of the key, so that an insert writes one entry and not two.
      statements.push({
        table: table.name,
        sql: `CREATE TABLE ${quote(table.name)} (${[
          ...table.columns.map((column) => columnSql(column, defaultSql(table, column.name))),
          `PRIMARY KEY (${quote(table.key)})`,
          ...table.references.map((reference) => `FOREIGN KEY (${quote(reference.column)}) ${referenceSql(reference)}`)
        ].join(", ")}) WITHOUT ROWID`
      })
      statements.push(...table.indexes.map((index) => createIndex(table.name, index)))
      record.push(table)
      continue
    }
    record.push(compare(old, table, objects.get(table.name)!, keyOf, changes, problems))
  }
  // Tables that the app no longer declares keep their rows and their record, in case they are declared again.
  record.push(...recorded.filter(({ name }) => !declared.some((table) => table.name === name)))
  // Rows can refer to any of the new tables.
  return { statements: [...statements, ...changes], problems, record }
}

/** Compares a recorded and a declared table. Returns the table as it is recorded next. */
const compare = (
  old: RecordedTable,
  table: Declared,
  defaults: ReadonlyMap<SqlValue, SqlValue>,
  keyOf: (table: string) => string,
  statements: Array<Statement>,
  problems: Array<Problem>
): RecordedTable => {
  const report = reporter(problems, table.name)
  const from = quote(table.name)
  const run = (sql: string) => statements.push({ table: table.name, sql })
  const alter = (change: string, drops?: string) =>
    statements.push({ table: table.name, sql: `ALTER TABLE ${from} ${change}`, drops })
  const dropColumn = (name: string) => alter(`DROP COLUMN ${quote(name)}`, name)
  if (old.key !== table.key) report(`its key changed from ${old.key} to ${table.key}`, "use a new table")
  const oldColumns = new Map(old.columns.map((column) => [column.name, column]))
  const columns = new Map(table.columns.map((column) => [column.name, column]))
  const oldReferences = new Map(old.references.map((reference) => [reference.column, reference]))
  const references = new Map(table.references.map((reference) => [reference.column, reference]))
  const widened = new Set(
    table.columns
      .filter((column) => isWidened(oldColumns.get(column.name), column))
      .map((column) => column.name)
      .filter((column) => column !== table.key && !oldReferences.has(column))
  )

  // An index is dropped before one of its columns, and created again after the column.
  const stays = (index: RecordedIndex, others: ReadonlyArray<typeof index>) =>
    others.some((other) => Equal.equals(other, index)) && !index.columns.some((column) => widened.has(column))
  for (const index of old.indexes) {
    if (stays(index, table.indexes)) continue
    statements.push({ table: table.name, sql: `DROP INDEX ${quote(indexName(table.name, index.name))}` })
  }
  const kept: Array<RecordedColumn> = []
  // A reference that the app does not know must not delete its rows, or prevent a deletion: the column is null meanwhile.
  const moved = (column: RecordedColumn): RecordedColumn => {
    if (column.movedTo !== undefined) return column
    const movedTo = `${column.name} (kept)`
    alter(`ADD COLUMN ${columnSql({ ...column, name: movedTo })}`)
    const name = quote(column.name)
    run(`UPDATE ${from} SET ${quote(movedTo)} = ${name}, ${name} = NULL WHERE ${name} IS NOT NULL`)
    return { ...column, movedTo }
  }
  for (const [name, column] of oldColumns) {
    if (columns.has(name)) continue
    const isReference = oldReferences.has(name)
    // SQLite cannot drop a reference: it is kept, even if its loss is allowed.
    const isDropped = table.dropped.has(name) && !isReference
    if (!isDropped && (!column.notNull || hasDefault(defaults.get(name)))) {
      kept.push(isReference ? moved(column) : column)
    } else if (!table.dropped.has(name)) {
      report(
        `is in the database (${column.type}) and not in the model, and dropping it would lose its values`,
        `declare it again, or allow the loss with Table.make(…, { dropped: ["${name}"] })`,
        name
      )
    } else if (isReference) {
      report("is a reference, and SQLite cannot drop those", "keep it as an optional field", name)
    } else dropColumn(name)
  }
  checkKept(oldColumns, table, kept, report)
  for (const [name, column] of columns) {
    const before = oldColumns.get(name)
    const reference = references.get(name)
    if (before === undefined) {
      const value = defaultSql(table, name)
      if (column.notNull && value === undefined) {
        report(
          "is new and required, and the rows that exist have no value for it",
          reference === undefined ? "make it optional or give it a constructor default" : "make it optional",
          name
        )
        continue
      }
      alter(`ADD COLUMN ${columnSql(column, value)}${reference === undefined ? "" : ` ${referenceSql(reference)}`}`)
    } else if (!Equal.equals(oldReferences.get(name), reference)) {
      report("changed what it refers to", "add a column of another name and copy the values", name)
    } else if (before.nulls === "json" && column.nulls === "none") {
      report("can no longer be null, and rows may be null", "add a column of another name and copy the values", name)
    } else if (keepsNullElse(before, column)) {
      report(
        "keeps null in another way than before, and rows with null would change",
        "add a column of another name and copy the values",
        name
      )
    } else if (widened.has(name)) {
      // The values wait in a table of their own: a table with the most columns has no room for a copy.
      run("CREATE TABLE _dormouse_copy (k PRIMARY KEY, v) WITHOUT ROWID")
      run(`INSERT INTO _dormouse_copy SELECT ${quote(table.key)}, ${quote(name)} FROM ${from}`)
      dropColumn(name)
      alter(`ADD COLUMN ${columnSql(column, defaultSql(table, name) ?? (column.notNull ? noDefault : undefined))}`)
      run(`UPDATE ${from} SET ${quote(name)} = (SELECT v FROM _dormouse_copy WHERE k = ${from}.${quote(table.key)})`)
      run("DROP TABLE _dormouse_copy")
    } else if (before.kind !== column.kind) {
      report(`changed from ${before.kind} to ${column.kind}`, "add a column of another name and copy the values", name)
    } else if (before.notNull !== column.notNull) {
      report(
        column.notNull
          ? "became required, and rows may have no value for it"
          : "became optional, and SQLite cannot change a reference",
        "add a column of another name and copy the values",
        name
      )
    } else if (before.movedTo !== undefined && reference !== undefined) {
      const movedTo = quote(before.movedTo)
      const target = `SELECT ${quote(keyOf(reference.table))} FROM ${quote(reference.table)}`
      run(`UPDATE ${from} SET ${quote(name)} = ${movedTo} WHERE ${movedTo} IN (${target})`)
      dropColumn(before.movedTo)
    }
  }
  for (const index of table.indexes) {
    if (!stays(index, old.indexes)) statements.push(createIndex(table.name, index))
  }
  const isKept = (name: string) => kept.some((column) => column.name === name)
  return {
    ...table,
    columns: [...table.columns, ...kept],
    references: [...table.references, ...old.references.filter(({ column }) => isKept(column))]
  }
}

/** Reports what cannot be added because of the columns that are kept for other versions of the app. */
const checkKept = (
  old: ReadonlyMap<string, RecordedColumn>,
  { columns }: Declared,
  kept: ReadonlyArray<RecordedColumn>,
  report: Report
): void => {
  const allow = (names: ReadonlyArray<string>) => `with Table.make(…, { dropped: ${JSON.stringify(names)} })`
  for (const { name } of columns) {
    const same = kept.find((column) => column.name.toLowerCase() === name.toLowerCase())
    if (same === undefined || old.has(name)) continue
    report(
      `has the name of column ${same.name}, whose values are kept for another version of the app`,
      `rename it, or allow the loss ${allow([same.name])}`,
      name
    )
  }
  const count = columns.length + kept.length + kept.filter(({ movedTo }) => movedTo !== undefined).length
  if (count <= Limits.sqlite.columns) return
  report(
    `has ${count} columns with those that are kept for other versions of the app, and the limit columns is ${Limits.sqlite.columns}`,
    `allow the loss of some ${allow(kept.filter(({ movedTo }) => movedTo === undefined).map(({ name }) => name))}`
  )
}

/** Whether a column now accepts more values than before: it became optional, or its integers became any numbers. */
const isWidened = (before: RecordedColumn | undefined, column: RecordedColumn): boolean =>
  before !== undefined &&
  (before.kind === column.kind
    ? before.notNull && !column.notNull
    : before.kind === "integer" && column.kind === "real" && (before.notNull || !column.notNull))

/** Whether rows with null would be read as something else. Where null has no other form than NULL, NULL is also missing. */
const keepsNullElse = ({ nulls: before }: RecordedColumn, { nulls }: RecordedColumn): boolean =>
  before !== undefined &&
  nulls !== undefined &&
  before !== "none" &&
  before !== nulls &&
  (before === "json" || nulls === "json")

const schemaTable: InternalTable = {
  name: "_dormouse_schema",
  create: "CREATE TABLE _dormouse_schema (id INTEGER PRIMARY KEY CHECK (id = 1), tables TEXT NOT NULL)"
}

/** Internal tables that have every commit: an app without their service drops them, because they would have a gap. */
const gapless = ["_dormouse_changes"]

/**
 * Migrates the database's tables to the app's and creates missing internal tables, in one transaction. Throws
 * `SchemaMismatch`. If nothing changed since the last start, it only runs two reads.
 */
export const migrate = (
  database: Database["Service"],
  tables: ReadonlyArray<Table.Any>,
  internal: ReadonlyArray<InternalTable> = []
): void => {
  const { record: expected, tables: declared } = declarationOf(tables)
  const objects = objectsOf(database)
  const missing = [schemaTable, ...internal].filter(({ name }) => !objects.has(name))
  const left = gapless.filter((name) => objects.has(name) && !internal.some((table) => table.name === name))
  // Most starts find everything in place, and need no transaction.
  if (missing.length + left.length === 0 && readRecord(database) === expected && declared.every(isIn(objects))) return
  database.transaction(() => {
    for (const { create } of missing) database.all(create, [])
    for (const name of left) database.all(`DROP TABLE ${name}`, [])
    const text = readRecord(database)
    const before = text === undefined ? [] : withoutDropped(recorded(database), declared, objects)
    const next = plan(before, declared, objects)
    if (next.problems.length > 0) throw new SchemaMismatch({ problems: next.problems })
    for (const statement of next.statements) execute(database, statement)
    const record = encodeRecorded(next.record)
    if (record !== text) {
      database.all(
        "INSERT INTO _dormouse_schema VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET tables = excluded.tables",
        [record]
      )
    }
  })
}

/**
 * The names of the database's tables and indexes: each with its definition under null, and the author's tables with the
 * names of their columns and the defaults of these in SQL.
 */
type Objects = ReadonlyMap<SqlValue, ReadonlyMap<SqlValue, SqlValue>>

const objectsOf = (database: Database["Service"]): Objects => {
  const { rows } = database.all(
    "SELECT name, NULL, sql FROM sqlite_master WHERE type IN ('table', 'index') UNION ALL " +
      "SELECT m.name, p.name, p.dflt_value FROM sqlite_master AS m, pragma_table_info(m.name) AS p " +
      "WHERE m.type = 'table' AND substr(m.name, 1, 1) <> '_'",
    []
  )
  const objects = new Map<SqlValue, Map<SqlValue, SqlValue>>(rows.map(([name]) => [name!, new Map()]))
  for (const [name, column, value] of rows) objects.get(name!)!.set(column!, value!)
  return objects
}

/** Whether the database has a table with its columns and indexes. */
const isIn =
  (objects: Objects) =>
  ({ columns, indexes, name }: RecordedTable): boolean =>
    columns.every((column) => objects.get(name)?.has(column.name)) &&
    indexes.every((index) => definitionOf(objects, name, index) === createIndex(name, index).sql)

const definitionOf = (objects: Objects, table: string, index: RecordedIndex): SqlValue | undefined =>
  objects.get(indexName(table, index.name))?.get(null)

/**
 * The recorded tables without what SQL dropped since. Indexes are then created again. Throws `SchemaMismatch` for tables
 * and columns that the app declares: their values are lost, and only the author knows whether they may be.
 */
const withoutDropped = (
  recorded: ReadonlyArray<RecordedTable>,
  declared: ReadonlyArray<Declared>,
  objects: Objects
): ReadonlyArray<RecordedTable> => {
  const problems: Array<Problem> = []
  const tables = recorded.flatMap((table) => {
    const found = objects.get(table.name)
    const next = declared.find(({ name }) => name === table.name)
    const report = reporter(problems, table.name)
    if (found === undefined) {
      if (next !== undefined) report(...droppedBySql)
      return []
    }
    for (const { name } of next?.columns ?? []) {
      if (!found.has(name) && table.columns.some((column) => column.name === name)) report(...droppedBySql, name)
    }
    return {
      ...table,
      columns: table.columns
        .filter(({ name }) => found.has(name))
        .map(({ movedTo, ...column }) =>
          movedTo !== undefined && found.has(movedTo) ? { ...column, movedTo } : column
        ),
      indexes: table.indexes.flatMap((index) => {
        const definition = definitionOf(objects, table.name, index)
        if (definition === undefined) return []
        // Without columns it differs from every declared index, and is replaced.
        return definition === createIndex(table.name, index).sql ? index : { ...index, columns: [] }
      })
    }
  })
  if (problems.length > 0) throw new SchemaMismatch({ problems })
  return tables
}

const droppedBySql = [
  "SQL dropped it with its values",
  "declare the tables without it for one start, and it is then created empty when it is declared again"
] as const

/** The recorded tables. Throws if there is no record, or if it is damaged. */
export const recorded = (database: Database["Service"]): ReadonlyArray<RecordedTable> => {
  const exit = decodeRecorded(readRecord(database))
  if (Exit.isFailure(exit)) throw new Error("the record of the database's tables is damaged")
  return exit.value
}

const readRecord = (database: Database["Service"]): SqlValue | undefined =>
  database.all("SELECT tables FROM _dormouse_schema", []).rows[0]?.[0]

const execute = (database: Database["Service"], { drops, index, sql, table }: Statement): void => {
  try {
    database.all(sql, [])
  } catch (cause) {
    const problems: Array<Problem> = []
    const report = reporter(problems, table)
    if (index !== undefined && String(cause).includes("UNIQUE constraint failed")) {
      report(`index ${index} must be unique, and rows have equal values`, "make the rows differ first")
    } else {
      report(`SQLite refused ${sql}: ${String(cause)}`, drops === undefined ? "see the cause" : dropUses, drops)
    }
    throw new SchemaMismatch({ problems })
  }
}

const dropUses =
  "drop the view, trigger or generated column that uses it, by SQL in the version before, and create it again after the change"
