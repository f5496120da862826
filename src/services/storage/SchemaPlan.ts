/**
 * Compares the tables that are recorded with those that are declared: the statements from one to the other, and the
 * problems that prevent them. Decides only: `TableSchema.ts` runs the statements.
 */
import * as Equal from "effect/Equal"
import type { Problem } from "../../contract/MigrationPlan.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import { type Declared, defaultSql } from "./SchemaDeclaration.ts"
import { checkRead, type Filling, fillerOf, isRead, settle, waiting } from "./SchemaFilling.ts"
import type { Objects } from "./SchemaObjects.ts"
import {
  columnSql,
  createIndex,
  hasDefault,
  noDefault,
  type RecordedColumn,
  type RecordedIndex,
  type RecordedTable,
  type Report,
  referenceSql,
  reporter,
  type Statement
} from "./SchemaRecord.ts"
import { indexName, quote } from "./TableInfo.ts"

/** A migration: its statements, the problems that prevent it, and what is recorded after it. */
export interface Plan {
  readonly statements: ReadonlyArray<Statement>
  readonly problems: ReadonlyArray<Problem>
  readonly record: ReadonlyArray<RecordedTable>
  /** Migrations of rows that have nothing to do, because their tables are new. */
  readonly vacuous: ReadonlySet<string>
  /** Migrations of rows that begin again, or are forgotten. */
  readonly abandoned: ReadonlySet<string>
}

/** What a plan takes into account beside the tables. */
export interface PlanOptions {
  /** The migrations of a table's rows that have not ended, in their order. */
  readonly pending: (table: string) => ReadonlyArray<Filling>
  /** Whether a migration of rows has ended. */
  readonly isDone: (migration: string) => boolean
  /** Tables that the app does not declare, and whose rows may be lost. */
  readonly droppedTables: ReadonlyArray<string>
}

/** Plans the migration of the recorded tables to the declared tables. */
export const plan = (
  recorded: ReadonlyArray<RecordedTable>,
  declared: ReadonlyArray<Declared>,
  objects: Objects,
  { droppedTables, isDone, pending }: PlanOptions
): Plan => {
  const statements: Array<Statement> = []
  const problems: Array<Problem> = []
  const changes: Array<Statement> = []
  const record: Array<RecordedTable> = []
  const keyOf = (name: string) => declared.find((table) => table.name === name)!.key
  const before = new Map(recorded.map((table) => [table.name, table]))
  const vacuous = new Set<string>()
  const abandoned = new Set<string>()
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
      for (const { id } of pending(table.name)) vacuous.add(id)
      continue
    }
    const fillings = pending(table.name)
    const settled = settle(old, table, fillings, isDone, changes)
    for (const id of settled.abandoned) abandoned.add(id)
    checkRead(settled.table, table, fillings, problems)
    record.push(compare(settled.table, table, objects.get(table.name)!, keyOf, changes, problems, fillings))
  }
  // Tables that the app no longer declares keep their rows and their record, in case they are declared again.
  const kept = recorded.filter(({ name }) => !declared.some((table) => table.name === name))
  record.push(...kept.filter(({ name }) => !droppedTables.includes(name)))
  const drops = dropTables(
    kept.filter(({ name }) => droppedTables.includes(name)),
    record,
    problems
  )
  // Rows can refer to any of the new tables.
  return { statements: [...statements, ...changes, ...drops], problems, record, vacuous, abandoned }
}

/** Drops tables: those first that refer to others. Reports those to which a table refers that stays. */
const dropTables = (
  dropped: ReadonlyArray<RecordedTable>,
  stay: ReadonlyArray<RecordedTable>,
  problems: Array<Problem>
): ReadonlyArray<Statement> => {
  for (const { name } of dropped) {
    for (const table of stay) {
      for (const reference of table.references) {
        if (reference.table !== name) continue
        const problem = `is to be dropped, and column ${reference.column} of table ${table.name} refers to it`
        reporter(problems, name)(problem, `keep it, or drop table ${table.name} too`)
      }
    }
  }
  const left = [...dropped]
  const statements: Array<Statement> = []
  while (left.length > 0) {
    const isFree = ({ name }: RecordedTable) =>
      !left.some((other) => other.name !== name && other.references.some(({ table }) => table === name))
    const [next] = left.splice(Math.max(0, left.findIndex(isFree)), 1)
    const { columns, name, references } = next!
    // SQLite deletes the rows one by one: their references to each other would prevent it.
    for (const { column, table } of references) {
      const isNullable = columns.some((found) => found.name === column && !found.notNull)
      if (!isNullable || !dropped.some((other) => other.name === table)) continue
      statements.push({ table: name, sql: `UPDATE ${quote(name)} SET ${quote(column)} = NULL` })
    }
    statements.push({ table: name, sql: `DROP TABLE ${quote(name)}` })
  }
  return statements
}

/** Compares a recorded and a declared table. Returns the table as it is recorded next. */
const compare = (
  old: RecordedTable,
  table: Declared,
  defaults: ReadonlyMap<SqlValue, SqlValue>,
  keyOf: (table: string) => string,
  statements: Array<Statement>,
  problems: Array<Problem>,
  fillings: ReadonlyArray<Filling>
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
      .filter((column) => fillerOf(fillings, column)?.from.has(column) !== true)
  )
  // While a migration fills a column, its values are not all there: its indexes are created in the end.
  const isUnready = (index: RecordedIndex) => index.columns.some((column) => fillerOf(fillings, column) !== undefined)

  // An index is dropped before one of its columns, and created again after the column.
  const stays = (index: RecordedIndex, others: ReadonlyArray<typeof index>) =>
    others.some((other) => Equal.equals(other, index)) && !index.columns.some((column) => widened.has(column))
  for (const index of old.indexes) {
    if (stays(index, table.indexes) && !isUnready(index)) continue
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
    if (isRead(fillings, name)) {
      const isRequired = column.notNull && !hasDefault(defaults.get(name))
      if (isRequired && fillings.some(({ isConcurrent }) => isConcurrent)) {
        report(
          "is required, and rows cannot be inserted without it while a migration reads it",
          "keep it as an optional field, or make the migration not concurrent",
          name
        )
      } else if (isRequired && !isDropped) report(...lostColumn(name, column.type), name)
      else kept.push(column)
    } else if (!isDropped && (!column.notNull || hasDefault(defaults.get(name)))) {
      kept.push(isReference ? moved(column) : column)
    } else if (!table.dropped.has(name)) {
      report(...lostColumn(name, column.type), name)
    } else if (isReference) {
      report("is a reference, and SQLite cannot drop those", "keep it as an optional field", name)
    } else dropColumn(name)
  }
  checkKept(oldColumns, table, kept, report)
  const filled = new Map<string, NonNullable<RecordedColumn["filledBy"]>>()
  for (const [name, column] of columns) {
    const before = oldColumns.get(name)
    const reference = references.get(name)
    const filler = fillerOf(fillings, name)
    if (before?.filledBy !== undefined) filled.set(name, before.filledBy)
    else if (filler !== undefined && before !== undefined && filler.from.has(name)) {
      if (name === table.key || reference !== undefined || oldReferences.has(name)) {
        report(
          `is ${name === table.key ? "the key" : "a reference"}, and a migration cannot fill it from itself`,
          "fill a column of another name",
          name
        )
        continue
      }
      const { name: _, ...stored } = before
      alter(`RENAME COLUMN ${quote(name)} TO ${quote(waiting(name))}`)
      alter(`ADD COLUMN ${columnSql(column, defaultSql(table, name) ?? (column.notNull ? noDefault : undefined))}`)
      filled.set(name, { migration: filler.id, before: { ...stored, column: waiting(name) } })
    } else if (before === undefined) {
      const value = defaultSql(table, name) ?? (column.notNull && filler && !reference ? noDefault : undefined)
      if (value === noDefault) filled.set(name, { migration: filler!.id })
      if (column.notNull && value === undefined) {
        report(
          "is new and required, and the rows that exist have no value for it",
          reference === undefined
            ? "make it optional, give it a constructor default, or fill it by a migration"
            : "make it optional",
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
    if (!isUnready(index) && !stays(index, old.indexes)) statements.push(createIndex(table.name, index))
  }
  const isKept = (name: string) => kept.some((column) => column.name === name)
  return {
    ...table,
    columns: [
      ...table.columns.map((column) => {
        const filledBy = filled.get(column.name)
        return filledBy === undefined ? column : { ...column, filledBy }
      }),
      ...kept
    ],
    indexes: table.indexes.filter((index) => !isUnready(index)),
    references: [...table.references, ...old.references.filter(({ column }) => isKept(column))]
  }
}

/** The problem of a column that is not declared any more, and without which no row can be inserted. */
const lostColumn = (name: string, type: string) =>
  [
    `is in the database (${type}) and not in the model, and dropping it would lose its values`,
    `declare it again, or allow the loss with Table.make(…, { dropped: ["${name}"] })`
  ] as const

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
