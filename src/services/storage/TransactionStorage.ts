/**
 * The storage of one transaction: it runs statements, enforces limits, and records reads and writes.
 * `TableReader`, `TableWriter` and `RawSql` run their statements through it. After `close` it throws.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as SqlClient from "effect/sql/SqlClient"
import { StatementFailed, StorageError } from "../../contract/Storage.ts"
import type { Plan } from "../../contract/TablePlan.ts"
import type { ChangeRecorder, RowChange } from "../../contract/Transactional.ts"
import * as Limits from "../../protocol/Limits.ts"
import { type Rows, type SqlValue, take } from "../Database.ts"
import { type Key, Range } from "./KeyOrder.ts"
import type { PolicyGuard } from "./PolicyPort.ts"
import type { ReadRecorder, WriteMark, WriteRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as Scan from "./Scan.ts"
import type { Footprint } from "./SqlFootprint.ts"
import { checkStatement, limit, limitOf } from "./StatementLimits.ts"
import type { StorageRuntime } from "./StorageRuntime.ts"
import { failure, keyIndex, keyOf, rowId, type TableInfo } from "./TableInfo.ts"

/** What a transaction may do, and where its reads and writes are recorded. */
export interface TransactionOptions {
  /** Whether raw SQL that writes is refused. */
  readonly readOnly?: boolean
  /** Records reads, if given. */
  readonly reads?: ReadRecorder
  /** Records writes, if given. */
  readonly writes?: WriteRecorder
  /** Record the changes of some tables, if given. */
  readonly recorders?: ReadonlyArray<ChangeRecorder>
}

/** A scan, and how far it has been read. */
export interface ScanState {
  readonly scan: Scan.Scan
  /** The key of the last row that was read. */
  last: Key | undefined
  /** Whether the whole range counts as read. Also true before the first row: a failed scan may depend on any row. */
  readsToEnd: boolean
  /** Whether a row that was read may be shown to the caller; `undefined` if all may. */
  readonly check: ((row: SqlRow) => boolean) | undefined
}

/** An open statement whose rows a filter or a stream consumes one by one. */
export interface OpenCursor {
  rows: IterableIterator<SqlRow>
}

/** How much a transaction had recorded at some point. */
export interface TransactionMark {
  readonly writes: WriteMark
  readonly written: number
  readonly afterCommit: number
  readonly outliving: number
  readonly rowChanges: number
}

/**
 * The connection of Effect's SQL to the current transaction, and the depth of the part of it that runs. Each part has a value
 * of its own: Effect puts requests into one statement only if they have the same.
 */
export const SqlTransaction = SqlClient.TransactionConnection(-1)

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

const everyRow = { check: undefined, where: undefined }

/** Rows of a scan whose rows are read from the cache. */
const maxKnownRows = 500
/** Rows of such a scan that may be missing from the cache. More are read with all others. */
const maxMissingRows = 10

const selectByKeys = (info: TableInfo, keys: ReadonlyArray<SqlValue>): Scan.Statement => ({
  sql: `SELECT ${info.columns} FROM ${info.name} WHERE ${info.keyName} IN (${keys.map(() => "?").join(", ")})`,
  params: keys
})

/** Whether JSON has the keys as they are. */
const hasJsonKeys = ({ codec }: TableInfo): boolean => codec.key.kind === "text" || codec.key.kind === "integer"

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
  /** Writes that are repeated after a rollback, in their order. */
  readonly outliving: Array<() => void> = []
  /** The changes of the recorders' tables, in their order. */
  readonly rowChanges: Array<RowChange> = []
  private readonly recorders: ReadonlyArray<ChangeRecorder>
  private readonly scans: Array<ScanState> = []
  private readonly openCursors = new Set<OpenCursor>()
  /** The rows that were written, whose cached values a rollback drops. */
  private readonly written: Array<{ readonly info: TableInfo; readonly key: SqlValue }> = []
  /** Whether raw SQL wrote: a rollback then drops all cached rows. */
  private hasRawWrites = false
  /** Grows with each write and each rollback of a part. */
  changes = 0
  private rowsRead = 0
  private rowsWritten = 0
  private closed = false

  constructor(runtime: StorageRuntime, options: TransactionOptions = {}) {
    this.runtime = runtime
    this.readOnly = options.readOnly ?? false
    this.reads = options.reads
    this.writes = options.writes
    this.recorders = options.recorders ?? []
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
    this.checkOpen()
    this.recordKey(info, key)
    const cached = info.rowCache.row(key)
    if (cached !== undefined) {
      this.countRead(1)
      return cached
    }
    const rows = this.select({ sql: info.selectByKey, params: [key] })
    this.countRead(rows.length)
    this.cacheRows(info, rows)
    return rows[0]
  }

  /** The rows with these keys that exist, by key. The reads are recorded. */
  rowsByKeys(info: TableInfo, keys: ReadonlyArray<SqlValue>): ReadonlyMap<string, SqlRow> {
    this.checkOpen()
    const found = new Map<string, SqlRow>()
    const missing: Array<SqlValue> = []
    for (const key of keys) {
      this.recordKey(info, key)
      const cached = info.rowCache.row(key)
      if (cached === undefined) missing.push(key)
      else found.set(rowId(info, key), cached)
    }
    this.countRead(found.size)
    for (let i = 0; i < missing.length; i += Limits.sqlite.boundParameters) {
      const rows = this.select(selectByKeys(info, missing.slice(i, i + Limits.sqlite.boundParameters)))
      this.countRead(rows.length)
      this.cacheRows(info, rows)
      for (const row of rows) found.set(rowId(info, row[info.keyPosition]!), row)
    }
    return found
  }

  /** Caches rows that the database has. Not with triggers, which could change rows unnoticed. */
  private cacheRows(info: TableInfo, rows: ReadonlyArray<SqlRow>): void {
    if (rows.length === 0 || this.runtime.footprints.mayHaveTriggers()) return
    for (const row of rows) info.rowCache.add(row[info.keyPosition]!, row)
  }

  /** Drops a row from the cache. Call before it is written. */
  invalidateRow(info: TableInfo, key: SqlValue): void {
    this.changes++
    info.rowCache.delete(key)
    this.written.push({ info, key })
  }

  /** Drops the rows of these tables from the cache. Call before raw SQL writes them. */
  invalidateTables(tables: ReadonlySet<string> | "everything"): void {
    this.changes++
    this.hasRawWrites = true
    this.runtime.clearRows(tables)
  }

  /** Caches a row that was just written, with its decoded value. */
  cacheWritten(info: TableInfo, row: SqlRow, value: object): void {
    this.cacheRows(info, [row])
    info.rowCache.setValue(row[info.keyPosition]!, row, value)
  }

  /** Records a read of the row with a key, whether or not it exists. */
  recordKey(info: TableInfo, key: SqlValue): void {
    this.reads?.range(info.table.name, keyIndex, Range.point([key]))
  }

  /**
   * Starts a scan. Its read is recorded when the transaction closes. With a guard it is a scan of the rows that the caller
   * may read, some of which `check` may still refuse.
   */
  openScan(plan: Plan<any>, after: Key | undefined, until: Key | undefined, guard: PolicyGuard | undefined): ScanState {
    const scan = Scan.make(this.runtime.table(plan.table), plan, after, until)
    const access = guard === undefined ? true : guard.access(scan, scan.equal)
    if (access === false) {
      // No row of the table was read: what decided is recorded already.
      return { scan: { ...scan, seeks: [] }, last: undefined, readsToEnd: true, check: undefined }
    }
    const { check, where } = access === true ? everyRow : access
    const state = {
      scan: where === undefined ? scan : Scan.restricted(scan, where),
      last: undefined,
      readsToEnd: true,
      check
    }
    if (this.reads !== undefined) this.scans.push(state)
    return state
  }

  /** Reads at most `limit` rows of a scan at once. */
  readRows(state: ScanState, limit: number): ReadonlyArray<SqlRow> {
    return this.readScan(
      state,
      limit,
      (scan, max) => this.knownRows(scan, max) ?? this.selectRows(scan, max),
      (row) => keyOf(state.scan.order, row)
    )
  }

  /** Reads at most `limit` keys of a scan at once, in the scan's index. */
  readKeys(state: ScanState, limit: number): ReadonlyArray<Key> {
    return this.readScan(
      state,
      limit,
      (scan, max) => this.readSeeks(scan, max, (seek, max) => this.select(Scan.keys(scan, seek, max))),
      (key) => key
    )
  }

  /** Counts the rows of a scan. */
  countRows({ scan }: ScanState): number {
    let count = 0
    for (const seek of scan.seeks) {
      const [counted = [0]] = this.select(Scan.count(scan, seek, this.rowsLeft() + 1))
      const found = Number(counted[0])
      this.countRead(found)
      count += found
    }
    return count
  }

  private readScan(
    state: ScanState,
    limit: number,
    read: (scan: Scan.Scan, max: number) => ReadonlyArray<SqlRow>,
    keyOf: (row: SqlRow) => Key
  ): ReadonlyArray<SqlRow> {
    this.checkOpen()
    if (state.scan.seeks.length === 0) return []
    // One row above the limit on reads shows that the limit was exceeded.
    const max = Math.min(limit, this.rowsLeft() + 1)
    const rows = read(state.scan, max)
    state.readsToEnd = rows.length < max
    if (!state.readsToEnd) state.last = keyOf(rows.at(-1)!)
    this.countRead(rows.length)
    return rows
  }

  /** Runs a statement that reads one of the app's tables. */
  select({ params, sql }: Scan.Statement): ReadonlyArray<SqlRow> {
    if (!this.runtime.isUnwritten) return this.all(sql, params).rows
    this.checkOpen()
    checkStatement(sql, params)
    return []
  }

  /** Runs a statement that reads one of the app's tables, and counts its rows as they are consumed. */
  *iterate({ params, sql }: Scan.Statement): IterableIterator<SqlRow> {
    this.checkOpen()
    checkStatement(sql, params)
    if (this.runtime.isUnwritten) return
    for (const row of this.runtime.database.iterate(sql, params)) {
      this.countRead(1)
      yield row
    }
  }

  /** Reads the seeks of a scan one after the other, until there are `max` items. */
  private readSeeks<A>(
    scan: Scan.Scan,
    max: number,
    read: (seek: Scan.Seek, max: number) => ReadonlyArray<A>
  ): ReadonlyArray<A> {
    if (scan.seeks.length === 1) return read(scan.seeks[0]!, max)
    const items: Array<A> = []
    for (const seek of scan.seeks) {
      for (const item of read(seek, max - items.length)) items.push(item)
      if (items.length >= max) break
    }
    return items
  }

  private selectRows(scan: Scan.Scan, max: number): ReadonlyArray<SqlRow> {
    const rows = this.readSeeks(scan, max, (seek, max) => this.select(Scan.rows(scan, seek, max)))
    if (rows.length <= maxKnownRows && hasJsonKeys(scan.info)) {
      this.cacheRows(scan.info, rows)
      this.runtime.scans.add(scan)
    }
    return rows
  }

  /**
   * The rows of a scan that was read before, from the cache: SQLite returns their keys as one value, which costs a fraction
   * of returning the rows. `undefined` if too few of them are cached.
   */
  private knownRows(scan: Scan.Scan, max: number): ReadonlyArray<SqlRow> | undefined {
    const { info } = scan
    if (this.runtime.isUnwritten || !this.runtime.scans.has(scan)) return undefined
    const keys = this.readSeeks<string | number>(scan, Math.min(max, maxKnownRows + 1), (seek, max) => {
      const [result] = this.select(Scan.keysAsJson(scan, seek, max))
      return JSON.parse(String(result![0]))
    })
    if (keys.length > maxKnownRows) return undefined
    const rows: Array<SqlRow> = []
    const missing: Array<SqlValue> = []
    for (const key of keys) {
      const row = info.rowCache.row(key)
      if (row === undefined) missing.push(key)
      else rows.push(row)
    }
    if (missing.length === 0) return rows
    if (missing.length > maxMissingRows) return undefined
    const read = this.select(selectByKeys(info, missing))
    this.cacheRows(info, read)
    // Another connection may have deleted one meanwhile.
    if (read.length < missing.length) return undefined
    const byKey = new Map(read.map((row) => [row[info.keyPosition]!, row]))
    return keys.map((key) => info.rowCache.row(key) ?? byKey.get(key)!)
  }

  /** Reads the rows of a scan one by one, as they are consumed. */
  *iterateScan(state: ScanState): IterableIterator<SqlRow> {
    if (state.scan.seeks.length === 0) return
    const cursor: OpenCursor = { rows: this.iterateSeeks(state.scan) }
    this.openCursors.add(cursor)
    try {
      for (;;) {
        const next = cursor.rows.next()
        if (next.done === true) break
        state.readsToEnd = false
        state.last = keyOf(state.scan.order, next.value)
        this.countRead(1)
        if (state.check?.(next.value) === false) continue
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

  private *iterateSeeks(scan: Scan.Scan): IterableIterator<SqlRow> {
    for (const seek of scan.seeks) {
      const { params, sql } = Scan.rows(scan, seek)
      checkStatement(sql, params)
      if (!this.runtime.isUnwritten) yield* this.runtime.database.iterate(sql, params)
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
    return {
      writes: this.writes?.mark() ?? 0,
      written: this.written.length,
      afterCommit: this.afterCommit.length,
      outliving: this.outliving.length,
      rowChanges: this.rowChanges.length
    }
  }

  /** Drops what was recorded since the mark. Call when a nested transaction was rolled back. */
  rollbackTo(mark: TransactionMark): void {
    this.changes++
    this.dropWritten(mark.written)
    this.writes?.rollbackTo(mark.writes)
    this.afterCommit.length = mark.afterCommit
    this.rowChanges.length = mark.rowChanges
    // They stay in the list: what is around this part may be rolled back as well.
    this.repeatOutliving(mark.outliving)
  }

  /** Repeats the writes that a rollback has undone and must not undo, from a position in their list on. */
  repeatOutliving(from: number): void {
    for (const writes of this.outliving.slice(from)) writes()
  }

  /** Call when the transaction was rolled back. */
  rolledBack(): void {
    this.dropWritten(0)
  }

  private dropWritten(from: number): void {
    for (const { info, key } of this.written.splice(from)) info.rowCache.delete(key)
    if (this.hasRawWrites) this.runtime.clearRows("everything")
  }

  /** Records that a row was written: as it was, if there was one, and as it is, if it still is. */
  recordChange(info: TableInfo, before: SqlRow | undefined, after: SqlRow | undefined): void {
    if (before !== undefined) this.recordWrite(info, before)
    if (after !== undefined) this.recordWrite(info, after)
    const table = info.table.name
    for (const { tables } of this.recorders) {
      if (!tables.has(table)) continue
      this.rowChanges.push({ table, keyAt: info.keyPosition, before, after })
      return
    }
  }

  /** Records a written row, by its key in each index of the table. */
  private recordWrite(info: TableInfo, row: SqlRow): void {
    if (this.writes === undefined) return
    for (const [index, order] of info.orders) this.writes.key(info.table.name, index, keyOf(order, row))
  }

  /** Throws if one of these tables has its changes recorded. Call before unknown rows of them are written. */
  checkRecorded(tables: ReadonlySet<string> | "everything"): void {
    for (const { reason, tables: recorded } of this.recorders) {
      for (const table of recorded) {
        if (tables !== "everything" && !tables.has(table)) continue
        throw new Error(`table ${table} has ${reason}, so only its methods may write it: not raw SQL, nor a trigger`)
      }
    }
  }

  /** Records writes of unknown rows of these tables. */
  recordTables(tables: ReadonlySet<string> | "everything"): void {
    if (tables === "everything") this.writes?.everything()
    else for (const table of tables) this.writes?.table(table)
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
