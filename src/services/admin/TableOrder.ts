/**
 * The tables of an app in the order in which their rows are exported and imported: each after those that it refers to.
 * Tables that refer to each other in a circle are next to each other, in the order of the app.
 */
import type { TableDescription } from "../../admin/AdminApi.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import * as RowCodec from "../storage/RowCodec.ts"

/** The tables, those first that others refer to. */
export const inOrder = (tables: ReadonlyArray<AnyTable>): ReadonlyArray<AnyTable> => {
  const ordered = new Set<AnyTable>()
  const visited = new Set<AnyTable>()
  const visit = (table: AnyTable): void => {
    // A table that is being visited refers to itself, perhaps through others.
    if (visited.has(table)) return
    visited.add(table)
    for (const { table: target } of table.references.values()) visit(target())
    ordered.add(table)
  }
  for (const table of tables) visit(table)
  return [...ordered]
}

/** A table, as the header of an export says it. */
export const describe = (table: AnyTable): TableDescription => ({
  name: table.name,
  key: table.key,
  columns: RowCodec.of(table).columns.map(({ kind, name, notNull }) => ({ name, kind, required: notNull })),
  references: Object.fromEntries(Array.from(table.references, ([column, { table }]) => [column, table().name]))
})
