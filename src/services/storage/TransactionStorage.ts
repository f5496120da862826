/**
 * Storage as one transaction sees it: its statements, the limits it has used up, and the record of its reads and writes.
 * `TableReader`, `TableWriter` and `RawSql` run their statements through it. It refuses statements after `close`.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { StatementFailed, StorageError } from "../../contract/Storage.ts"
import type { Plan } from "../../contract/TableQuery.ts"
import { type Rows, type SqlValue, take } from "../Database.ts"
import { type Key, Range } from "./KeyOrder.ts"
import type { ReadRecorder, WriteMark, WriteRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as Scan from "./Scan.ts"
import type { Footprint } from "./SqlFootprint.ts"
import { checkStatement, limit, limitOf } from "./StatementLimits.ts"
import type { StorageRuntime } from "./StorageRuntime.ts"
import { failure, keyIndex, keyOf, type TableInfo } from "./TableInfo.ts"

/** What a transaction may do, and where it records what it did. */
export interface TransactionOptions {
  /** Raw SQL that would write is refused. */
  readonly readOnly?: boolean
  /** Records what is read. Without it nothing is recorded. */
  readonly reads?: ReadRecorder
  /** Records what is written. Without it nothing is recorded. */
  readonly writes?: WriteRecorder
}

/** A scan, and how far it was read. */
export interface ScanState {
  readonly scan: Scan.Scan
  /** The key of the last row that was read. */
  last: Key | undefined
  /** Whether the whole range counts as read. True until rows come: a scan that fails may have depended on any row. */
  readsToEnd: boolean
}

/** Rows that SQLite gives one by one to a filter or a stream. */
export interface OpenCursor {
  rows: IterableIterator<SqlRow>
}

/** How much a transaction had recorded at one moment. */
export interface TransactionMark {
  readonly writes: WriteMark
  readonly afterCommit: number
}

/** A synchronous storage operation. A thrown `StorageError` is its failure; anything else that is thrown is a defect. */
export const attempt = <A>(body: () => A): Effect.Effect<A, StorageError> =>
  Effect.suspend(() => {
    try {
      return Exit.succeed(body())
    } catch (error) {
      if (error instanceof StorageError) return Exit.fail(error)
      throw error
    }
  })

/** The statements and the accounting of one transaction. */
export class TransactionStorage {
  readonly runtime: StorageRuntime
  readonly readOnly: boolean
  readonly reads: ReadRecorder | undefined
  readonly writes: WriteRecorder | undefined
  /** Effects that services asked for, to run after the commit. */
  readonly afterCommit: Array<Effect.Effect<void>> = []
  private readonly scans: Array<ScanState> = []
  private readonly openCursors = new Set<OpenCursor>()
  /** Rows that were read by key. A later write by key of the same row does not read it again. */
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

  /** Ends the transaction's use of storage and completes its record of reads. */
  close(): void {
    this.closed = true
    for (const { rows } of this.openCursors) rows.return?.()
    for (const { last, readsToEnd, scan } of this.scans) {
      this.reads?.range(scan.info.table.name, scan.index, readsToEnd ? scan.range : Scan.scannedRange(scan, last))
    }
  }

  /** Throws once the transaction has ended. */
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

  /** Runs a statement of ours that gives rows. */
  all(sql: string, params: ReadonlyArray<SqlValue>): Rows {
    this.checkOpen()
    checkStatement(sql, params)
    try {
      return this.runtime.database.all(sql, params)
    } catch (cause) {
      throw this.toStorageError(cause)
    }
  }

  /** Runs a statement of ours that gives no rows. `violationOf` finds the constraint that a failure broke. */
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

  /** The row with a key, as SQLite has it. */
  rowByKey(info: TableInfo, key: SqlValue): SqlRow | undefined {
    this.recordKey(info, key)
    const known = this.rowsByKey.get(info)?.get(key)
    if (known !== undefined) {
      this.checkOpen()
      return known
    }
    const { rows } = this.all(info.selectByKey, [key])
    this.countRead(rows.length)
    const row = rows[0]
    if (row !== undefined) this.keepRow(info, key, row)
    return row
  }

  /** Keeps a row for a later write by key. Queries write nothing, and a trigger could change the row unseen. */
  private keepRow(info: TableInfo, key: SqlValue, row: SqlRow): void {
    if (this.readOnly || key instanceof Uint8Array || this.runtime.footprints.mayHaveTriggers()) return
    const rows = this.rowsByKey.get(info)
    if (rows === undefined) this.rowsByKey.set(info, new Map([[key, row]]))
    else rows.set(key, row)
  }

  /** A row was written by key: what was read of it is no longer what the database has. */
  forgetRow(info: TableInfo, key: SqlValue): void {
    this.rowsByKey.get(info)?.delete(key)
  }

  /** Rows that are not known one by one were written. */
  forgetRows(): void {
    this.rowsByKey.clear()
  }

  /** Records that the row with a key, or its absence, was read. */
  recordKey(info: TableInfo, key: SqlValue): void {
    this.reads?.range(info.table.name, keyIndex, Range.point([key]))
  }

  /** Starts a scan. What it reads is recorded when the transaction closes. */
  openScan(plan: Plan<any>, after: Key | undefined, until?: Key): ScanState {
    const state = {
      scan: Scan.make(this.runtime.table(plan.table), plan, after, until),
      last: undefined,
      readsToEnd: true
    }
    if (this.reads !== undefined) this.scans.push(state)
    return state
  }

  /** Reads rows of a scan at once, `limit` at most. */
  readScan(
    state: ScanState,
    select: (scan: Scan.Scan, most: number) => Scan.Statement,
    limit: number,
    keyOf: (row: SqlRow) => Key
  ): ReadonlyArray<SqlRow> {
    if (Scan.isEmpty(state.scan)) return []
    // One row beyond the limit on reads shows that it was exceeded, and the scan stops there.
    const most = Math.min(limit, this.rowsLeft() + 1)
    const { params, sql } = select(state.scan, most)
    const { rows } = this.all(sql, params)
    state.readsToEnd = rows.length < most
    if (!state.readsToEnd) state.last = keyOf(rows.at(-1)!)
    this.countRead(rows.length)
    return rows
  }

  /** Reads rows of a scan one by one, as they are asked for. */
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
   * Call before anything is written and before a nested transaction ends. Open cursors read their remaining rows into
   * memory: they go on with the rows as they were, and never meet a row that a write moved ahead of them.
   */
  bufferOpenCursors(): void {
    for (const cursor of this.openCursors) {
      cursor.rows = take(cursor.rows, this.rowsLeft() + 1)[Symbol.iterator]()
    }
    this.openCursors.clear()
  }

  // --- writing

  /** Where the transaction is, for a nested one that may be rolled back. */
  mark(): TransactionMark {
    return { writes: this.writes?.mark() ?? 0, afterCommit: this.afterCommit.length }
  }

  /** A nested transaction was rolled back: forgets what was recorded since the mark. */
  rollbackTo(mark: TransactionMark): void {
    this.rowsByKey.clear()
    this.writes?.rollbackTo(mark.writes)
    this.afterCommit.length = mark.afterCommit
  }

  /** Records the place of a written row in each index of its table. Call with the old and with the new row. */
  recordWrite(info: TableInfo, row: SqlRow): void {
    if (this.writes === undefined) return
    for (const [index, order] of info.orders) this.writes.key(info.table.name, index, keyOf(order, row))
  }

  // --- limits

  /** How many rows may still be read. */
  rowsLeft(): number {
    return Math.max(0, this.runtime.limits.rowsRead - this.rowsRead)
  }

  /** How many rows may still be written. */
  writesLeft(): number {
    return this.runtime.limits.rowsWritten - this.rowsWritten
  }

  /** Counts rows that were read. Throws when that exceeds `rowsRead`. */
  countRead(rows: number): void {
    this.rowsRead += rows
    limit("rowsRead", this.runtime.limits.rowsRead, this.rowsRead)
  }

  /** Counts rows that are about to be written. Throws when that exceeds `rowsWritten`. */
  countWritten(rows: number): void {
    this.rowsWritten += rows
    limit("rowsWritten", this.runtime.limits.rowsWritten, this.rowsWritten)
  }
}
