import { ReferenceViolation } from "../../contract/Storage.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"
import type { Statement } from "./Scan.ts"
import { failure, identity, quote, type TableInfo } from "./TableInfo.ts"

/** What the deletion of a row does, by the rows' identity. */
export interface Deletion {
  /** The rows that go, the one that was meant first. */
  readonly deleted: ReadonlyMap<string, Deleted>
  /** The rows whose references are set to null. */
  readonly nulled: ReadonlyMap<string, { readonly info: TableInfo; readonly old: SqlRow; readonly next: SqlRow }>
}

interface Deleted {
  readonly info: TableInfo
  readonly row: SqlRow
  /** How many references lead from it to the row that was meant. */
  readonly distance: number
}

/**
 * Finds out what goes with a row, so that each row of it can be recorded. Throws a `ReferenceViolation` where a reference
 * restricts the deletion, whatever else would have gone with it. Stops when there are more rows than `most`.
 */
export const make = (
  info: TableInfo,
  row: SqlRow,
  select: (statement: Statement) => ReadonlyArray<SqlRow>,
  most: number
): Deletion => {
  const keyOf = (info: TableInfo, row: SqlRow) => row[info.keyPosition]!
  const deleted = new Map<string, Deleted>([[identity(info, keyOf(info, row)), { info, row, distance: 0 }]])
  const referring: Array<{ readonly info: TableInfo; readonly row: SqlRow; readonly column: string }> = []
  // A map gives what is added while it is gone through.
  for (const parent of deleted.values()) {
    for (const { action, column, info: child } of parent.info.referrers) {
      const rows = select(
        rowsReferring(parent, child, column, action === "restrict" ? 1 : Math.max(0, most - deleted.size) + 1)
      )
      if (rows.length > 0 && action === "restrict") {
        throw failure(new ReferenceViolation({ table: child.table.name, column, action: "restrict" }))
      }
      for (const row of rows) {
        const name = identity(child, keyOf(child, row))
        if (action === "setNull") referring.push({ info: child, row, column })
        else if (!deleted.has(name)) deleted.set(name, { info: child, row, distance: parent.distance + 1 })
      }
      if (deleted.size > most) return { deleted, nulled: new Map() }
    }
  }
  const nulled = new Map<string, { readonly info: TableInfo; readonly old: SqlRow; readonly next: SqlRow }>()
  for (const { column, row, info } of referring) {
    const name = identity(info, keyOf(info, row))
    if (deleted.has(name)) continue
    const next = (nulled.get(name)?.next ?? row).with(info.codec.columnIndex.get(column)!, null)
    nulled.set(name, { info, old: row, next })
  }
  return { deleted, nulled }
}

const rowsReferring = (parent: Deleted, child: TableInfo, column: string, most: number): Statement => {
  const key = parent.row[parent.info.keyPosition]!
  const sql = `SELECT ${child.columns} FROM ${child.name} WHERE ${quote(column)} = ?`
  // A row that refers to itself holds nobody back.
  return child === parent.info
    ? { sql: `${sql} AND ${child.keyName} <> ? LIMIT ?`, params: [key, key, most] }
    : { sql: `${sql} LIMIT ?`, params: [key, most] }
}

/** Deletes the rows, the most distant first: a Durable Object follows a cascade no further than ten rows. */
export const statements = ({ deleted }: Deletion): ReadonlyArray<Statement> => {
  const parts: Array<{ readonly info: TableInfo; readonly distance: number; readonly keys: Array<SqlValue> }> = []
  for (const { distance, row, info } of deleted.values()) {
    const key = row[info.keyPosition]!
    const last = parts.at(-1)
    if (last?.info === info && last.distance === distance && last.keys.length < Limits.sqlite.boundParameters) {
      last.keys.push(key)
    } else parts.push({ info, distance, keys: [key] })
  }
  return parts.reverse().map(({ keys, info }) => {
    const marks = keys.map(() => "?").join(", ")
    return { sql: `DELETE FROM ${info.name} WHERE ${info.keyName} IN (${marks})`, params: keys }
  })
}
