/**
 * The deletion of a row with what references to it require: rows that are deleted too, and references set to null.
 * It is computed before anything is deleted, so that each written row can be recorded.
 */
import { ReferenceViolation, type StorageError } from "../../contract/Storage.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import { denied, type PolicyGuard } from "./PolicyPort.ts"
import type { SqlRow } from "./RowCodec.ts"
import type { Statement } from "./Scan.ts"
import { failure, quote, rowId, type TableInfo } from "./TableInfo.ts"
import type { RecordedTable } from "./TableSchema.ts"

/** What the deletion of a row does. Both maps are by `rowId`. */
export interface Deletion {
  /** The deleted rows, the requested one first. */
  readonly deleted: ReadonlyMap<string, Deleted>
  /** The rows whose references are set to null. */
  readonly nulled: ReadonlyMap<string, { readonly info: TableInfo; readonly old: SqlRow; readonly next: SqlRow }>
}

interface Deleted {
  readonly info: TableInfo
  readonly row: SqlRow
  /** The number of references between this row and the requested one. */
  readonly distance: number
}

/**
 * Finds the rows that the deletion of a row deletes or changes. Throws a `ReferenceViolation` if a reference restricts
 * the deletion, even from a row that would be deleted too. Stops after more than `max` rows.
 */
export const make = (
  info: TableInfo,
  row: SqlRow,
  select: (statement: Statement) => ReadonlyArray<SqlRow>,
  max: number,
  guard?: PolicyGuard
): Deletion => {
  const keyOf = (info: TableInfo, row: SqlRow) => row[info.keyPosition]!
  const deleted = new Map<string, Deleted>([[rowId(info, keyOf(info, row)), { info, row, distance: 0 }]])
  const referring: Array<{ readonly info: TableInfo; readonly row: SqlRow; readonly column: string }> = []
  // Iteration of a map includes entries that are added meanwhile.
  for (const parent of deleted.values()) {
    for (const { action, column, info: child } of parent.info.referrers) {
      const isOne = action === "restrict" && guard === undefined
      const rows = select(rowsReferring(parent, child, column, isOne ? 1 : Math.max(0, max - deleted.size) + 1))
      if (rows.length > 0 && action === "restrict") {
        // Only a row that the caller may read is a reason that it may be told.
        if (guard !== undefined && !rows.some((row) => guard.isVisible(child, row, [column]))) {
          throw denied(info.table.name, "delete")
        }
        throw failure(new ReferenceViolation({ table: child.table.name, column, action: "restrict" }))
      }
      for (const row of rows) {
        const id = rowId(child, keyOf(child, row))
        if (action === "setNull") referring.push({ info: child, row, column })
        else if (!deleted.has(id)) deleted.set(id, { info: child, row, distance: parent.distance + 1 })
      }
      if (deleted.size > max) return { deleted, nulled: new Map() }
    }
  }
  const nulled = new Map<string, { readonly info: TableInfo; readonly old: SqlRow; readonly next: SqlRow }>()
  for (const { column, row, info } of referring) {
    const id = rowId(info, keyOf(info, row))
    if (deleted.has(id)) continue
    const next = (nulled.get(id)?.next ?? row).with(info.codec.columnIndex.get(column)!, null)
    nulled.set(id, { info, old: row, next })
  }
  return { deleted, nulled }
}

const rowsReferring = (parent: Deleted, child: TableInfo, column: string, max: number): Statement => {
  const key = parent.row[parent.info.keyPosition]!
  const sql = `SELECT ${child.columns} FROM ${child.name} WHERE ${quote(column)} = ?`
  // A row that refers to itself does not restrict its own deletion.
  return child === parent.info
    ? { sql: `${sql} AND ${child.keyName} <> ? LIMIT ?`, params: [key, key, max] }
    : { sql: `${sql} LIMIT ?`, params: [key, max] }
}

/** A statement that deletes rows of a table by their keys. */
export interface DeleteStatement extends Statement {
  readonly table: string
  readonly params: ReadonlyArray<SqlValue>
}

/** The statements that delete the rows, the most distant first: a Durable Object allows at most ten nested cascades. */
export const statements = ({ deleted }: Deletion): ReadonlyArray<DeleteStatement> => {
  const batches: Array<{ readonly info: TableInfo; readonly distance: number; readonly keys: Array<SqlValue> }> = []
  for (const { distance, row, info } of deleted.values()) {
    const key = row[info.keyPosition]!
    const last = batches.at(-1)
    if (last?.info === info && last.distance === distance && last.keys.length < Limits.sqlite.boundParameters) {
      last.keys.push(key)
    } else batches.push({ info, distance, keys: [key] })
  }
  return batches.reverse().map(({ keys, info }) => ({
    table: info.table.name,
    sql: `DELETE FROM ${info.name} WHERE ${info.keyName} IN (${placeholders(keys)})`,
    params: keys
  }))
}

const placeholders = (keys: ReadonlyArray<SqlValue>): string => keys.map(() => "?").join(", ")

/**
 * The error for a statement that a table restricts which the app no longer declares, directly or through rows that the
 * statement would delete. SQLite applies the references of these tables, and its error does not name them.
 */
export const restriction = (
  { params, table }: DeleteStatement,
  retired: ReadonlyArray<RecordedTable>,
  select: (statement: Statement) => ReadonlyArray<SqlRow>
): StorageError | undefined => {
  const found: Array<{ readonly table: string; readonly keys: ReadonlyArray<SqlValue> }> = [{ table, keys: params }]
  const seen = new Set<string>()
  // The iteration includes entries that are added meanwhile.
  for (const parent of found) {
    for (const child of retired) {
      for (const { column, onDelete } of child.references.filter((reference) => reference.table === parent.table)) {
        if (onDelete === "setNull") continue
        const sql = `SELECT ${quote(child.key)} FROM ${quote(child.name)} WHERE ${quote(column)} IN (${placeholders(parent.keys)})`
        const keys = select({ sql, params: parent.keys }).map(([key]) => key!)
        if (keys.length > 0 && onDelete === "restrict") {
          return failure(new ReferenceViolation({ table: child.name, column, action: "restrict" }))
        }
        const added = keys.filter((key) => {
          const id = JSON.stringify([child.name, typeof key, key instanceof Uint8Array ? key.join() : key])
          return !seen.has(id) && seen.add(id)
        })
        for (let i = 0; i < added.length; i += Limits.sqlite.boundParameters) {
          found.push({ table: child.name, keys: added.slice(i, i + Limits.sqlite.boundParameters) })
        }
      }
    }
  }
  return undefined
}
