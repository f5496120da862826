import { ReferenceViolation } from "../contract/Storage.ts"
import * as Limits from "../protocol/Limits.ts"
import type { SqlValue } from "./Database.ts"
import type { SqlRow } from "./RowCodec.ts"
import type { Statement } from "./Scan.ts"
import { failure, identity, quote, type Store } from "./Store.ts"

/** What the deletion of a row does, by the rows' identity. */
export interface Deletion {
  /** The rows that go, the one that was meant first. */
  readonly deleted: ReadonlyMap<string, Deleted>
  /** The rows whose references are set to null. */
  readonly emptied: ReadonlyMap<string, { readonly store: Store; readonly old: SqlRow; readonly next: SqlRow }>
}

interface Deleted {
  readonly store: Store
  readonly row: SqlRow
  /** How many references lead from it to the row that was meant. */
  readonly distance: number
}

/**
 * Finds out what goes with a row, so that each row of it can be recorded. Throws a `ReferenceViolation` where a reference
 * restricts the deletion, whatever else would have gone with it. Stops when there are more rows than `most`.
 */
export const make = (
  store: Store,
  row: SqlRow,
  select: (statement: Statement) => ReadonlyArray<SqlRow>,
  most: number
): Deletion => {
  const keyOf = (store: Store, row: SqlRow) => row[store.keyPosition]!
  const deleted = new Map<string, Deleted>([[identity(store, keyOf(store, row)), { store, row, distance: 0 }]])
  const referring: Array<{ readonly store: Store; readonly row: SqlRow; readonly column: string }> = []
  // A map gives what is added while it is gone through.
  for (const parent of deleted.values()) {
    for (const { action, column, store: child } of parent.store.referrers) {
      const rows = select(
        rowsReferring(parent, child, column, action === "restrict" ? 1 : Math.max(0, most - deleted.size) + 1)
      )
      if (rows.length > 0 && action === "restrict") {
        throw failure(new ReferenceViolation({ table: child.table.name, column, action: "restrict" }))
      }
      for (const row of rows) {
        const name = identity(child, keyOf(child, row))
        if (action === "setNull") referring.push({ store: child, row, column })
        else if (!deleted.has(name)) deleted.set(name, { store: child, row, distance: parent.distance + 1 })
      }
      if (deleted.size > most) return { deleted, emptied: new Map() }
    }
  }
  const emptied = new Map<string, { readonly store: Store; readonly old: SqlRow; readonly next: SqlRow }>()
  for (const { column, row, store } of referring) {
    const name = identity(store, keyOf(store, row))
    if (deleted.has(name)) continue
    const next = (emptied.get(name)?.next ?? row).with(store.codec.columnIndex.get(column)!, null)
    emptied.set(name, { store, old: row, next })
  }
  return { deleted, emptied }
}

const rowsReferring = (parent: Deleted, child: Store, column: string, most: number): Statement => {
  const key = parent.row[parent.store.keyPosition]!
  const sql = `SELECT ${child.columns} FROM ${child.name} WHERE ${quote(column)} = ?`
  // A row that refers to itself holds nobody back.
  return child === parent.store
    ? { sql: `${sql} AND ${child.keyName} <> ? LIMIT ?`, params: [key, key, most] }
    : { sql: `${sql} LIMIT ?`, params: [key, most] }
}

/** Deletes the rows, the most distant first: a Durable Object follows a cascade no further than ten rows. */
export const statements = ({ deleted }: Deletion): ReadonlyArray<Statement> => {
  const parts: Array<{ readonly store: Store; readonly distance: number; readonly keys: Array<SqlValue> }> = []
  for (const { distance, row, store } of deleted.values()) {
    const key = row[store.keyPosition]!
    const last = parts.at(-1)
    if (last?.store === store && last.distance === distance && last.keys.length < Limits.sqlite.boundParameters) {
      last.keys.push(key)
    } else parts.push({ store, distance, keys: [key] })
  }
  return parts.reverse().map(({ keys, store }) => {
    const marks = keys.map(() => "?").join(", ")
    return { sql: `DELETE FROM ${store.name} WHERE ${store.keyName} IN (${marks})`, params: keys }
  })
}
