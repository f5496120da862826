/**
 * The cached rows of one table, as SQLite stores them and decoded.
 * Tables are written only through Dormouse, so a cached row is current until it is written: every write drops what it
 * changes, and a rollback drops what its transaction wrote.
 */
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"

/** Rows of one generation. There are two: rows of the older one that are used move to the younger. */
const maxRows = 1_000
/** Characters of one generation. */
const maxLength = 1_000_000
/** Characters of a row. Larger rows are not cached. */
const maxRowLength = 2_000

interface CachedRow {
  readonly row: SqlRow
  readonly length: number
  /** The decoded row. */
  value: object | undefined
}

/** Answers of one table that are kept. Beyond that all are dropped. */
const maxAnswers = 2_000

/** Known rows by key. Decoded values are shared between callers, and therefore frozen. */
export class RowCache {
  private young = new Map<SqlValue, CachedRow>()
  private old = new Map<SqlValue, CachedRow>()
  private length = 0
  /** Whether some row exists, by the statement that finds out. Every write of the table drops all answers. */
  private readonly answers = new Map<string, boolean>()
  private readonly sharesValues: boolean

  /** `sharesValues` says whether decoded rows are immutable. */
  constructor(sharesValues: boolean) {
    this.sharesValues = sharesValues
  }

  /** The row with a key, if it is known. */
  row(key: SqlValue): SqlRow | undefined {
    return this.find(key)?.row
  }

  /** The decoded value of a row, if exactly this row is known with its value. */
  value(key: SqlValue, row: SqlRow): object | undefined {
    const cached = this.find(key)
    return cached !== undefined && sameRow(cached.row, row) ? cached.value : undefined
  }

  /** Adds a row that the database has. */
  add(key: SqlValue, row: SqlRow): void {
    const known = this.find(key)
    // The same row keeps its decoded value.
    if (known !== undefined && sameRow(known.row, row)) return
    const length = lengthOf(row)
    if (length > maxRowLength) this.delete(key)
    else this.insert(key, { row, length, value: undefined })
  }

  /** Adds the decoded value of a row that is known, and freezes it. */
  setValue(key: SqlValue, row: SqlRow, value: object): void {
    if (!this.sharesValues) return
    const cached = this.find(key)
    if (cached !== undefined && sameRow(cached.row, row)) cached.value = Object.freeze(value)
  }

  /** Whether a row exists, if this statement was answered since the last write of the table. */
  answer(statement: string): boolean | undefined {
    return this.answers.get(statement)
  }

  /** Keeps the answer of a statement. */
  setAnswer(statement: string, answer: boolean): void {
    if (this.answers.size >= maxAnswers) this.answers.clear()
    this.answers.set(statement, answer)
  }

  /** Drops a row, and what depends on the table as a whole. */
  delete(key: SqlValue): void {
    if (this.answers.size > 0) this.answers.clear()
    this.young.delete(key)
    this.old.delete(key)
  }

  /** Drops all rows. */
  clear(): void {
    this.young = new Map()
    this.old = new Map()
    this.length = 0
    this.answers.clear()
  }

  private find(key: SqlValue): CachedRow | undefined {
    const young = this.young.get(key)
    if (young !== undefined) return young
    const old = this.old.get(key)
    if (old !== undefined) this.insert(key, old)
    return old
  }

  private insert(key: SqlValue, cached: CachedRow): void {
    if (this.young.size >= maxRows || this.length + cached.length > maxLength) {
      this.old = this.young
      this.young = new Map()
      this.length = 0
    }
    this.young.set(key, cached)
    this.length += cached.length
  }
}

const sameRow = (a: SqlRow, b: SqlRow): boolean => {
  if (a === b) return true
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Characters of a row. Bytes are mutable, and a caller could change them: rows with bytes are never cached. */
const lengthOf = (row: SqlRow): number => {
  let length = 0
  for (const column of row) {
    if (typeof column === "string") length += column.length
    else if (column instanceof Uint8Array) return Number.POSITIVE_INFINITY
  }
  return length
}
