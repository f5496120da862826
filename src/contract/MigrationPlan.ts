/**
 * What a start changes in a database, and what it is asked about: the tables and migrations of a version of an app, as data.
 * A deployment can thereby be asked about a version that is not deployed yet.
 */
import * as Schema from "effect/Schema"

/** A change that would lose data, or a declaration that SQLite cannot implement. */
export const Problem = Schema.Struct({
  table: Schema.String,
  column: Schema.optionalKey(Schema.String),
  /** What is wrong. */
  problem: Schema.String,
  /** What the author can do about it. */
  remedy: Schema.String
})
/** A change that would lose data, or a declaration that SQLite cannot implement. */
export type Problem = typeof Problem.Type

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

/** The names that a table and its columns had before, as the app declared them. */
export const EarlierNames = Schema.Struct({
  table: Schema.Array(Schema.String),
  columns: Schema.Record(Schema.String, Schema.Array(Schema.String))
})

const Column = Schema.Struct({
  name: Schema.String,
  type: Schema.Literals(["TEXT", "INTEGER", "REAL", "BLOB"]),
  kind: Schema.Literals(["text", "integer", "real", "boolean", "bigint", "bytes", "json"]),
  notNull: Schema.Boolean,
  nulls: Schema.optionalKey(Schema.Literals(["none", "sql", "json"]))
})

/** A literal of SQL: nothing else can be a default. */
const Literal = Schema.String.check(
  Schema.isPattern(/^(?:NULL|-?[0-9.]+(?:e[+-]?[0-9]+)?|'(?:[^']|'')*'|x'[0-9a-f]*')$/)
)

const DeclaredTable = Schema.Struct({
  name: Schema.NonEmptyString,
  key: Schema.String,
  columns: Schema.Array(Column),
  indexes: Schema.Array(
    Schema.Struct({ name: Schema.NonEmptyString, columns: Schema.Array(Schema.String), unique: Schema.Boolean })
  ),
  references: Schema.Array(
    Schema.Struct({
      column: Schema.String,
      table: Schema.String,
      onDelete: Schema.Literals(["cascade", "restrict", "setNull"])
    })
  ),
  renamedFrom: Schema.optionalKey(EarlierNames),
  dropped: Schema.Array(Schema.String),
  /** The defaults of columns, as literals of SQL. */
  defaults: Schema.Record(Schema.String, Literal)
})

const DeclaredMigration = Schema.Struct({
  id: Schema.NonEmptyString,
  table: Schema.String,
  from: Schema.Array(Column),
  fills: Schema.Array(Schema.String),
  isConcurrent: Schema.Boolean
})

const fields = {
  tables: Schema.Array(DeclaredTable),
  migrations: Schema.Array(DeclaredMigration),
  droppedTables: Schema.Array(Schema.String)
}

/** What is wrong with tables whose parts do not fit each other. */
const problemOf = ({ migrations, tables }: Schema.Struct<typeof fields>["Type"]): string | undefined => {
  const names = new Set(tables.map(({ name }) => name))
  for (const { columns, indexes, key, name, references } of tables) {
    const has = (column: string) => columns.some((found) => found.name === column)
    const used = [key, ...indexes.flatMap((index) => index.columns), ...references.map(({ column }) => column)]
    const column = used.find((column) => !has(column))
    if (column !== undefined) return `table ${name} has no column ${column}`
    const missing = references.find(({ table }) => !names.has(table))
    if (missing !== undefined) return `table ${name} refers to ${missing.table}, which is no table`
  }
  const lost = migrations.find(({ table }) => !names.has(table))
  return lost && `migration ${lost.id} is of ${lost.table}, which is no table`
}

/** What a version of an app declares, as data. */
export const TargetData = Schema.Struct(fields).check(Schema.makeFilter((target) => problemOf(target)))
/** What a version of an app declares, as data. */
export type TargetData = typeof TargetData.Type
