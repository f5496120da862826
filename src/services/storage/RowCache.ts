import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"

/** Rows that are kept of one table: some megabytes at most, of rows as they usually are. */
const mostKept = 2_000
/** Characters of a row that is worth keeping. */
const longest = 2_000

interface Decoded {
  readonly row: SqlRow
  readonly value: object
}

/**
 * Decoded rows by key, so that a list that is read again and again decodes only what changed. A row is found only when
 * every column is what it was, so nothing here can be stale. The values are shared, and frozen for that.
 */
export class RowCache {
  private readonly rows = new Map<SqlValue, Decoded>()

  find(key: SqlValue, row: SqlRow): object | undefined {
    const known = this.rows.get(key)
    if (known === undefined) return undefined
    for (let i = 0; i < row.length; i++) if (row[i] !== known.row[i]) return undefined
    return known.value
  }

  keep(key: SqlValue, row: SqlRow, value: object): void {
    let length = 0
    for (const column of row) if (typeof column === "string") length += column.length
    if (length > longest) return
    // The oldest goes; looking for the least used would cost more than decoding it again.
    if (this.rows.size >= mostKept && !this.rows.has(key)) this.rows.delete(this.rows.keys().next().value!)
    this.rows.set(key, { row, value: Object.freeze(value) })
  }
}
