/**
 * What the database knows of its tables, and the statements of SQL that make them: the record of the last migration, the
 * problems that prevent the next one, and how a table, a column and an index are written in SQL.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { EarlierNames, Problem } from "../../contract/MigrationPlan.ts"
import type { InternalTable } from "../../contract/Transactional.ts"
import type { Database, SqlValue } from "../Database.ts"
import { indexName, quote } from "./TableInfo.ts"

/** How a column is stored. */
const stored = {
  type: Schema.String,
  kind: Schema.String,
  notNull: Schema.Boolean,
  /** Of a column of nested values. Records of earlier versions lack it. */
  nulls: Schema.optionalKey(Schema.Literals(["none", "sql", "json"]))
}
const RecordedColumn = Schema.Struct({
  name: Schema.String,
  ...stored,
  /** The column that has the values of a reference while the app does not declare it. */
  movedTo: Schema.optionalKey(Schema.String),
  /** The migration of rows that fills this column and has not ended, and where the column waits that it had before. */
  filledBy: Schema.optionalKey(
    Schema.Struct({
      migration: Schema.String,
      before: Schema.optionalKey(Schema.Struct({ ...stored, column: Schema.String }))
    })
  )
})
const RecordedTable = Schema.Struct({
  name: Schema.String,
  key: Schema.String,
  columns: Schema.Array(RecordedColumn),
  indexes: Schema.Array(
    Schema.Struct({ name: Schema.String, columns: Schema.Array(Schema.String), unique: Schema.Boolean })
  ),
  references: Schema.Array(Schema.Struct({ column: Schema.String, table: Schema.String, onDelete: Schema.String })),
  renamedFrom: Schema.optionalKey(EarlierNames)
})
/** A column as the last migration left it. */
export type RecordedColumn = typeof RecordedColumn.Type
/** An index as the last migration left it. */
export type RecordedIndex = RecordedTable["indexes"][number]
/** A table as the last migration left it. */
export type RecordedTable = typeof RecordedTable.Type

const Recorded = Schema.fromJsonString(Schema.Array(RecordedTable))
const decodeRecorded = Schema.decodeUnknownExit(Recorded)
/** The record of tables, as text. */
export const encodeRecorded = Schema.encodeSync(Recorded)

/** The database cannot be migrated to the app's tables, and the object does not start. Its data is unchanged. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>("effect-dormouse/SchemaMismatch")(
  "SchemaMismatch",
  { problems: Schema.Array(Problem) }
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

/** Adds a problem of one table. */
export type Report = (problem: string, remedy: string, column?: string) => void

/** Adds problems of one table to a list. */
export const reporter =
  (problems: Array<Problem>, table: string): Report =>
  (problem, remedy, column) =>
    problems.push({ table, ...(column === undefined ? {} : { column }), problem, remedy })

const actions: Record<string, string> = { cascade: "CASCADE", restrict: "RESTRICT", setNull: "SET NULL" }

/** The statement that creates an index. */
export const createIndex = (table: string, index: RecordedIndex): Statement => ({
  table,
  index: index.name,
  sql: `CREATE ${index.unique ? "UNIQUE " : ""}INDEX ${quote(indexName(table, index.name))} ON ${quote(table)} (${index.columns.map(quote).join(", ")})`
})

/** A column as it is declared in SQL. */
export const columnSql = (column: RecordedColumn, value?: string) =>
  `${quote(column.name)} ${column.type}${column.notNull ? " NOT NULL" : ""}${value === undefined ? "" : ` DEFAULT ${value}`}`

/** SQLite adds a required column only with a default. This one stands for none: a literal that nothing else writes so. */
export const noDefault = "0e0"

/** Whether rows may be inserted without a required column, from its default as SQLite returns it. */
export const hasDefault = (value: SqlValue | undefined) => value !== undefined && value !== null && value !== noDefault

/** A reference as it is declared in SQL. */
export const referenceSql = (reference: RecordedTable["references"][number]) =>
  `REFERENCES ${quote(reference.table)} ON DELETE ${actions[reference.onDelete]}`

/** A statement of a migration. */
export interface Statement {
  readonly sql: string
  readonly table: string
  readonly index?: string
  /** The column that it drops. */
  readonly drops?: string | undefined
}

/** The table of the record. */
export const schemaTable: InternalTable = {
  name: "_dormouse_schema",
  create: "CREATE TABLE _dormouse_schema (id INTEGER PRIMARY KEY CHECK (id = 1), tables TEXT NOT NULL)"
}

/** The recorded tables. Throws if there is no record, or if it is damaged. */
export const recorded = (database: Database["Service"]): ReadonlyArray<RecordedTable> => {
  const exit = decodeRecorded(readRecord(database))
  if (Exit.isFailure(exit)) throw new Error("the record of the database's tables is damaged")
  return exit.value
}

/** The text of the record, if there is one. */
export const readRecord = (database: Database["Service"]): SqlValue | undefined =>
  database.all("SELECT tables FROM _dormouse_schema", []).rows[0]?.[0]

/** Runs a statement of a migration. Throws `SchemaMismatch` when SQLite refuses it. */
export const execute = (database: Database["Service"], { drops, index, sql, table }: Statement): void => {
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
