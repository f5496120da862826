/**
 * The tables, columns and indexes that are in the database, beside what its record says.
 * Raw SQL may have dropped some.
 */
import type { Problem } from "../../contract/MigrationPlan.ts"
import type { Database, SqlValue } from "../Database.ts"
import type { Declared } from "./SchemaDeclaration.ts"
import { createIndex, type RecordedIndex, type RecordedTable, reporter, SchemaMismatch } from "./SchemaRecord.ts"
import { indexName } from "./TableInfo.ts"

/**
 * The names of the database's tables and indexes: each with its definition under null, and the author's tables with the
 * names of their columns and the defaults of these in SQL.
 */
export type Objects = ReadonlyMap<SqlValue, ReadonlyMap<SqlValue, SqlValue>>

/** Reads them. */
export const objectsOf = (database: Database["Service"]): Objects => {
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
export const isIn =
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
export const withoutDropped = (
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
