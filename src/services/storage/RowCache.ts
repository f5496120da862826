/**
 * A cache of decoded rows, so that a list that is read repeatedly decodes only the rows that changed.
 * An entry is used only if every column is unchanged, so it cannot be stale.
 */
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"

/** Cached rows of one table: a few megabytes for rows of a usual size. */
const maxRows = 2_000
/** Characters of a row. Larger rows are not cached. */
const maxRowLength = 2_000

interface CachedRow {
  readonly row: SqlRow
  readonly value: object
}

/** Decoded rows by key. The values are shared between callers, and therefore frozen. */
export class RowCache {
  private readonly rows = new Map<SqlValue, CachedRow>()

  /** The decoded value of a row, if exactly this row is cached. */
  find(key: SqlValue, row: SqlRow): object | undefined {
    const cached = this.rows.get(key)
    if (cached === undefined) return undefined
    for (let i = 0; i < row.length; i++) if (row[i] !== cached.row[i]) return undefined
    return cached.value
  }

  /** Caches the decoded value of a row, and freezes it. */
  keep(key: SqlValue, row: SqlRow, value: object): void {
    let length = 0
    for (const column of row) if (typeof column === "string") length += column.length
    if (length > maxRowLength) return
    // Drop the oldest: a search for the least recently used row would cost more than decoding it again.
    if (this.rows.size >= maxRows && !this.rows.has(key)) this.rows.delete(this.rows.keys().next().value!)
    this.rows.set(key, { row, value: Object.freeze(value) })
  }
}
