/**
 * The storage of one transaction: it runs statements, enforces limits, and records reads and writes.
 * `TableReader`, `TableWriter` and `RawSql` run their statements through it. After `close` it throws.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { StatementFailed, StorageError } from "../../contract/Storage.ts"
import type { Plan } from "../../contract/TablePlan.ts"
import { type Rows, type SqlValue, take } from "../Database.ts"
import { type Key, Range } from "./KeyOrder.ts"
import type { ReadRecorder, WriteMark, WriteRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as Scan from "./Scan.ts"
import type { Footprint } from "./SqlFootprint.ts"
import { checkStatement, limit, limitOf } from "./StatementLimits.ts"
import type { StorageRuntime } from "./StorageRuntime.ts"
import { failure, keyIndex, keyOf, type TableInfo } from "./TableInfo.ts"

/** What a transaction may do, and where its reads and writes are recorded. */
export interface TransactionOptions {
  /** Whether raw SQL that writes is refused. */
  readonly readOnly?: boolean
  /** Records reads, if given. */
  readonly reads?: ReadRecorder
  /** Records writes, if given. */
  readonly writes?: WriteRecorder
}

/** A scan, and how far it has been read. */
export interface ScanState {
  readonly scan: Scan.Scan
  /** The key of the last row that was read. */
  last: Key | undefined
  /** Whether the whole range counts as read. Also true before the first row: a failed scan may depend on any row. */
  readsToEnd: boolean
}

/** An open statement whose rows a filter or a stream consumes one by one. */
export interface OpenCursor {
  rows: IterableIterator<SqlRow>
}

/** How much a transaction had recorded at some point. */
export interface TransactionMark {
  readonly writes: WriteMark
  readonly afterCommit: number
}

/** A synchronous operation as an effect. A thrown `StorageError` becomes its failure, any other throw a defect. */
export const attempt = <A>(body: () => A): Effect.Effect<A, StorageError> =>
  Effect.suspend(() => {
    try {
      return Exit.succeed(body())
    } catch (error) {
      if (error instanceof StorageError) return Exit.fail(error)
      throw error
    }
  })

/** Runs and accounts for the statements of one transaction. */
export class TransactionStorage {
  /** The state that all transactions share. */
  readonly runtime: StorageRuntime
  /** Whether the transaction is a query. */
  readonly readOnly: boolean
  readonly reads: ReadRecorder | undefined
  readonly writes: WriteRecorder | undefined
  /** Effects to run after the commit. */
  readonly afterCommit: Array<Effect.Effect<void>> = []
  private readonly scans: Array<ScanState> = []
  private readonly openCursors = new Set<OpenCursor>()
  /** Rows that were read by key, so that a write of the same row does not read it again. */
  private readonly rowsByKey = new Map<TableInfo, Map<SqlValue, SqlRow>>()
  private rowsRead = 0
  private rowsWritten = 0
  private closed = false

  constructor(runtime: StorageRuntime, options: TransactionOptions = {}) {
    this.runtime = runtime
    this.readOnly = options.readOnly ?? false
    this.reads = options.reads
    this.writes = options.writes
  }

  /** Ends the transaction: closes open cursors and completes the record of reads. */
  close(): void {
    this.closed = true
    for (const { rows } of this.openCursors) rows.return?.()
    for (const { last, readsToEnd, scan } of this.scans) {
      this.reads?.range(scan.info.table.name, scan.index, readsToEnd ? scan.range : Scan.scannedRange(scan, last))
    }
  }

  /** Throws if the transaction has ended. */
  checkOpen(): void {
    if (this.closed) throw new Error("storage was used after its transaction had ended")
  }

  // --- statements

  /** What a statement reads and writes. Throws when it writes and this is a query. */
  footprint(sql: string, paramCount: number): Footprint {
    const footprint = this.runtime.footprints.footprint(sql, paramCount)
    if (this.readOnly && !footprint.readOnly) throw new Error("a query cannot write: make it a mutation")
    return footprint
  }

  /** Runs an internal statement and returns its rows. */
  all(sql: string, params: ReadonlyArray<SqlValue>): Rows {
    this.checkOpen()
    checkStatement(sql, params)
    try {
      return this.runtime.database.all(sql, params)
    } catch (cause) {
      throw this.toStorageError(cause)
    }
  }

  /** Runs an internal statement without rows. `violationOf` maps SQLite's message to the violated constraint. */
  run(sql: string, params: ReadonlyArray<SqlValue>, violationOf?: (message: string) => StorageError | undefined): void {
    this.checkOpen()
    checkStatement(sql, params)
    try {
      this.runtime.database.run(sql, params)
    } catch (cause) {
      throw this.toStorageError(cause, violationOf)
    }
  }

  private toStorageError(cause: unknown, violationOf?: (message: string) => StorageError | undefined): unknown {
    if (cause instanceof StorageError || !(cause instanceof Error)) return cause
    return violationOf?.(cause.message) ?? limitOf(cause, []) ?? failure(new StatementFailed({ cause }))
  }

  // --- reading

  /** The row with a key, as SQLite stores it. */
  rowByKey(info: TableInfo, key: SqlValue): SqlRow | undefined {
    this.recordKey(info, key)
    const cached = this.rowsByKey.get(info)?.get(key)
    if (cached !== undefined) {
      this.checkOpen()
      return cached
    }
    const { rows } = this.all(info.selectByKey, [key])
    this.countRead(rows.length)
    const row = rows[0]
    if (row !== undefined) this.cacheRow(info, key, row)
    return row
  }

  /** Caches a row for a later write by key. Not with triggers, which could change the row unnoticed. */
  private cacheRow(info: TableInfo, key: SqlValue, row: SqlRow): void {
    if (this.readOnly || key instanceof Uint8Array || this.runtime.footprints.mayHaveTriggers()) return
    const rows = this.rowsByKey.get(info)
    if (rows === undefined) this.rowsByKey.set(info, new Map([[key, row]]))
    else rows.set(key, row)
  }

  /** Drops a row from the cache. Call before it is written. */
  invalidateRow(info: TableInfo, key: SqlValue): void {
    this.rowsByKey.get(info)?.delete(key)
  }

  /** Drops all rows from the cache. Call before a write of unknown rows. */
  invalidateRows(): void {
    this.rowsByKey.clear()
  }

  /** Records a read of the row with a key, whether or not it exists. */
  recordKey(info: TableInfo, key: SqlValue): void {
    this.reads?.range(info.table.name, keyIndex, Range.point([key]))
  }

  /** Starts a scan. Its read is recorded when the transaction closes. */
  openScan(plan: Plan<any>, after: Key | undefined, until?: Key): ScanState {
    const state = {
      scan: Scan.make(this.runtime.table(plan.table), plan, after, until),
      last: undefined,
      readsToEnd: true
    }
    if (this.reads !== undefined) this.scans.push(state)
    return state
  }

  /** Reads at max `limit` rows of a scan at once. */
  readScan(
    state: ScanState,
    select: (scan: Scan.Scan, max: number) => Scan.Statement,
    limit: number,
    keyOf: (row: SqlRow) => Key
  ): ReadonlyArray<SqlRow> {
    if (Scan.isEmpty(state.scan)) return []
    // One row above the limit on reads shows that the limit was exceeded.
    const max = Math.min(limit, this.rowsLeft() + 1)
    const { params, sql } = select(state.scan, max)
    const { rows } = this.all(sql, params)
    state.readsToEnd = rows.length < max
    if (!state.readsToEnd) state.last = keyOf(rows.at(-1)!)
    this.countRead(rows.length)
    return rows
  }

  /** Reads the rows of a scan one by one, as they are consumed. */
  *iterateScan(plan: Plan<any>, after: Key | undefined, until?: Key): IterableIterator<SqlRow> {
    const state = this.openScan(plan, after, until)
    if (Scan.isEmpty(state.scan)) return
    const { params, sql } = Scan.rows(state.scan)
    checkStatement(sql, params)
    const cursor: OpenCursor = { rows: this.runtime.database.iterate(sql, params) }
    this.openCursors.add(cursor)
    try {
      for (;;) {
        const next = cursor.rows.next()
        if (next.done === true) break
        state.readsToEnd = false
        state.last = keyOf(state.scan.order, next.value)
        this.countRead(1)
        yield next.value
        this.checkOpen()
      }
      state.readsToEnd = true
    } catch (cause) {
      if (!(cause instanceof StorageError)) state.readsToEnd = true
      throw this.toStorageError(cause)
    } finally {
      this.openCursors.delete(cursor)
      cursor.rows.return?.()
    }
  }

  /**
   * Reads the remaining rows of open cursors into memory. Call before each write and before a nested transaction ends:
   * cursors then continue with the rows as they were, and never see a row that the write moved ahead of them.
   */
  bufferOpenCursors(): void {
    for (const cursor of this.openCursors) {
      cursor.rows = take(cursor.rows, this.rowsLeft() + 1)[Symbol.iterator]()
    }
    this.openCursors.clear()
  }

  // --- writing

  /** Marks the current point, to which a nested transaction can be rolled back. */
  mark(): TransactionMark {
    return { writes: this.writes?.mark() ?? 0, afterCommit: this.afterCommit.length }
  }

  /** Drops what was recorded since the mark. Call when a nested transaction was rolled back. */
  rollbackTo(mark: TransactionMark): void {
    this.rowsByKey.clear()
    this.writes?.rollbackTo(mark.writes)
    this.afterCommit.length = mark.afterCommit
  }

  /** Records a written row, by its key in each index of the table. Call with the old and with the new row. */
  recordWrite(info: TableInfo, row: SqlRow): void {
    if (this.writes === undefined) return
    for (const [index, order] of info.orders) this.writes.key(info.table.name, index, keyOf(order, row))
  }

  // --- limits

  /** How many more rows may be read. */
  rowsLeft(): number {
    return Math.max(0, this.runtime.limits.rowsRead - this.rowsRead)
  }

  /** How many more rows may be written. */
  writesLeft(): number {
    return this.runtime.limits.rowsWritten - this.rowsWritten
  }

  /** Counts rows that were read. Throws when the limit `rowsRead` is exceeded. */
  countRead(rows: number): void {
    this.rowsRead += rows
    limit("rowsRead", this.runtime.limits.rowsRead, this.rowsRead)
  }

  /** Counts rows before they are written. Throws when the limit `rowsWritten` is exceeded. */
  countWritten(rows: number): void {
    this.rowsWritten += rows
    limit("rowsWritten", this.runtime.limits.rowsWritten, this.rowsWritten)
  }
}
