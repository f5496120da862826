/**
 * Which tables and columns of the database are those that the app declares under another name.
 * A rename goes both ways: a version of the app that declares the earlier name finds the table or column under it again.
 */
import type { Problem } from "../../contract/MigrationPlan.ts"
import type { Declared } from "./SchemaDeclaration.ts"
import { type RecordedTable, reporter, type Statement } from "./SchemaRecord.ts"
import { indexName, quote } from "./TableInfo.ts"

/** A table that gets another name, or a column of it. */
export interface Rename {
  /** The table, by its new name. */
  readonly table: string
  readonly kind: "table" | "column"
  readonly from: string
  readonly to: string
}

/** What the decision looks up in the database. */
export interface Rows {
  /** Whether there is a table, or a column of it: SQL may have dropped it. */
  readonly exists: (table: string, column?: string) => boolean
  /** Whether a table has rows, or one in which a column has a value. */
  readonly has: (table: string, column?: string) => boolean
}

/** The renames, and the tables as they are recorded after them. */
export interface Renames {
  readonly renames: ReadonlyArray<Rename>
  readonly statements: ReadonlyArray<Statement>
  readonly problems: ReadonlyArray<Problem>
  readonly recorded: ReadonlyArray<RecordedTable>
}

/** What one decision adds to. */
interface Draft {
  readonly renames: Array<Rename>
  readonly statements: Array<Statement>
  readonly problems: Array<Problem>
}

/** Decides which of the recorded tables and columns are renamed. */
export const decide = (
  recorded: ReadonlyArray<RecordedTable>,
  declared: ReadonlyArray<Declared>,
  rows: Rows,
  droppedTables: ReadonlyArray<string> = []
): Renames => {
  const draft: Draft = { renames: [], statements: [], problems: [] }
  let tables = recorded
  for (const table of declared) tables = renameTable(tables, table, declared, rows, droppedTables, draft)
  const names = new Map(draft.renames.map(({ from, to }) => [to, from]))
  // The statements come later: until then a table is found under its old name.
  const under = (table: string): Rows => {
    const found = names.get(table) ?? table
    return { exists: (_, column) => rows.exists(found, column), has: (_, column) => rows.has(found, column) }
  }
  const next = tables.map((table) => {
    const target = declared.find(({ name }) => name === table.name)
    return target === undefined ? table : renameColumns(table, target, under(table.name), draft)
  })
  return { ...draft, recorded: next }
}

/** Of several names that the same table or column may have had, the one with values. */
const chosen = (
  candidates: ReadonlyArray<string>,
  hasValues: (name: string) => boolean
): string | undefined | ReadonlyArray<string> => {
  const names = [...new Set(candidates)]
  if (names.length < 2) return names[0]
  const filled = names.filter(hasValues)
  return filled.length > 1 ? filled : (filled[0] ?? names[0])
}

const renameTable = (
  recorded: ReadonlyArray<RecordedTable>,
  { name, renamedFrom }: Declared,
  declared: ReadonlyArray<Declared>,
  rows: Rows,
  droppedTables: ReadonlyArray<string>,
  draft: Draft
): ReadonlyArray<RecordedTable> => {
  const report = reporter(draft.problems, name)
  const isFree = (table: string) => !declared.some((other) => other.name === table) && !droppedTables.includes(table)
  const free = recorded.filter((table) => isFree(table.name) && rows.exists(table.name))
  const earlier = free.filter((table) => renamedFrom?.table.includes(table.name))
  const exists = recorded.some((table) => table.name === name)
  const later = exists ? [] : free.filter((table) => table.renamedFrom?.table.includes(name))
  const from = chosen(
    [...earlier, ...later].map((table) => table.name),
    (table) => rows.has(table)
  )
  if (from === undefined) return recorded
  if (typeof from !== "string") {
    report(
      `may be each of the tables ${from.join(", ")}, which have rows`,
      'copy the rows of all but one, and drop those with App.make({ droppedTables: ["…"] })'
    )
    return recorded
  }
  if (exists) {
    if (!rows.has(from)) return recorded
    if (rows.has(name)) {
      report(
        `is in the database with rows, and so is ${from}, which it is renamed from`,
        `copy the rows of one to the other, and drop ${from} with App.make({ droppedTables: ["${from}"] })`
      )
      return recorded
    }
    draft.statements.push({ table: name, sql: `DROP TABLE ${quote(name)}` })
  }
  draft.renames.push({ table: name, kind: "table", from, to: name })
  draft.statements.push({ table: name, sql: `ALTER TABLE ${quote(from)} RENAME TO ${quote(name)}` })
  return recorded
    .filter((table) => !exists || table.name !== name)
    .map((table) => {
      const references = table.references.map((reference) =>
        reference.table === from ? { ...reference, table: name } : reference
      )
      if (table.name !== from) return { ...table, references }
      // SQLite keeps the names of indexes, which contain that of the table.
      for (const index of table.indexes) {
        draft.statements.push({ table: name, sql: `DROP INDEX IF EXISTS ${quote(indexName(from, index.name))}` })
      }
      return { ...table, name, references, indexes: [] }
    })
}

const renameColumns = (old: RecordedTable, table: Declared, rows: Rows, draft: Draft): RecordedTable => {
  const report = reporter(draft.problems, table.name)
  const declares = (name: string) => table.columns.some((column) => column.name === name)
  let next = old
  for (const { name } of table.columns) {
    const isFree = (column: string) => !declares(column) && !table.dropped.has(column)
    const free = next.columns
      .map((column) => column.name)
      .filter((column) => isFree(column) && rows.exists(table.name, column))
    const exists = next.columns.some((column) => column.name === name)
    const earlier = free.filter((column) => table.renamedFrom?.columns[name]?.includes(column))
    const later = exists ? [] : free.filter((column) => old.renamedFrom?.columns[column]?.includes(name))
    const from = chosen([...earlier, ...later], (column) => rows.has(table.name, column))
    if (from === undefined) continue
    if (typeof from !== "string") {
      report(
        `may be each of the columns ${from.join(", ")}, which have values`,
        `allow the loss of the others with Table.make(…, { dropped: ${JSON.stringify(from.slice(1))} })`,
        name
      )
      continue
    }
    if (exists) {
      if (!rows.has(table.name, from)) continue
      const isReference = next.references.some(({ column }) => column === name)
      if (isReference || rows.has(table.name, name)) {
        report(
          `is in the database, and so is ${from}, which it is renamed from`,
          `copy the values, and allow the loss of ${from} with Table.make(…, { dropped: ["${from}"] })`,
          name
        )
        continue
      }
      next = withoutColumn(next, name, draft)
    }
    draft.renames.push({ table: table.name, kind: "column", from, to: name })
    const sql = `ALTER TABLE ${quote(table.name)} RENAME COLUMN ${quote(from)} TO ${quote(name)}`
    draft.statements.push({ table: table.name, sql })
    const renamed = (column: string) => (column === from ? name : column)
    next = {
      ...next,
      key: renamed(next.key),
      columns: next.columns.map((column) => ({ ...column, name: renamed(column.name) })),
      indexes: next.indexes.map((index) => ({ ...index, columns: index.columns.map(renamed) })),
      references: next.references.map((reference) => ({ ...reference, column: renamed(reference.column) }))
    }
  }
  return next
}

/** Drops a column in which no row has a value, and the indexes on it. */
const withoutColumn = (table: RecordedTable, name: string, { statements }: Draft): RecordedTable => {
  const isOn = ({ columns }: RecordedTable["indexes"][number]) => columns.includes(name)
  for (const index of table.indexes.filter(isOn)) {
    const sql = `DROP INDEX IF EXISTS ${quote(indexName(table.name, index.name))}`
    statements.push({ table: table.name, sql })
  }
  const sql = `ALTER TABLE ${quote(table.name)} DROP COLUMN ${quote(name)}`
  statements.push({ table: table.name, sql, drops: name })
  return {
    ...table,
    columns: table.columns.filter((column) => column.name !== name),
    indexes: table.indexes.filter((index) => !isOn(index))
  }
}
