/**
 * The `Storage` service of one transaction: reads rows by key, by plan, one by one and in pages.
 * Records exactly what was consumed, so that a live query runs again only if a write affects that.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Storage } from "../../contract/Storage.ts"
import { CursorInvalid, type StorageError } from "../../contract/Storage.ts"
import type { AnyTable, Page, PageOptions, Plan } from "../../contract/TablePlan.ts"
import { take } from "../Database.ts"
import * as Cursor from "./Cursor.ts"
import type { Key } from "./KeyOrder.ts"
import type { PolicyGuard } from "./PolicyPort.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as Scan from "./Scan.ts"
import { decode, failure, fieldValue, keyOf, rowId, type TableInfo } from "./TableInfo.ts"
import { attempt, type TransactionStorage } from "./TransactionStorage.ts"

/** Reads rows in one transaction. */
export class TableReader implements Context.Service.Shape<typeof Storage> {
  private readonly storage: TransactionStorage
  /** What the caller may read; `undefined` for everything. */
  private readonly guard: PolicyGuard | undefined
  private readonly withoutPolicies: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

  constructor(
    storage: TransactionStorage,
    guard?: PolicyGuard,
    withoutPolicies: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = identity
  ) {
    this.storage = storage
    this.guard = guard
    this.withoutPolicies = withoutPolicies
  }

  /** Runs an effect without policies. The span is made here, so that no way to call it leaves it out. */
  unrestricted<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.withSpan(this.withoutPolicies(effect), "Storage.unrestricted", { captureStackTrace: false })
  }

  /** The value of a row, as the caller may see it. */
  private show(info: TableInfo, row: SqlRow): any {
    return this.guard === undefined ? decode(info, row) : this.guard.show(info, row)
  }

  /** Whether the row exists for the caller. */
  private isThere(info: TableInfo, row: SqlRow | undefined): row is SqlRow {
    return row !== undefined && (this.guard === undefined || this.guard.canRead(info, row))
  }

  /** The row with a key. */
  get(table: AnyTable, key: unknown): Effect.Effect<Option.Option<any>, StorageError> {
    return attempt(() => {
      const info = this.storage.runtime.table(table)
      const row = this.storage.rowByKey(info, fieldValue(info, info.codec.key, key))
      return this.isThere(info, row) ? Option.some(this.show(info, row)) : Option.none()
    })
  }

  /** The rows with these keys, in the order of the keys. */
  getMany(
    table: AnyTable,
    keys: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<Option.Option<any>>, StorageError> {
    return attempt(() => {
      const { storage } = this
      const info = storage.runtime.table(table)
      const values = keys.map((key) => fieldValue(info, info.codec.key, key))
      const distinct = [...new Map(values.map((value) => [rowId(info, value), value])).values()]
      const rows = storage.rowsByKeys(info, distinct)
      return values.map((value) => {
        const row = rows.get(rowId(info, value))
        return this.isThere(info, row) ? Option.some(this.show(info, row)) : Option.none()
      })
    })
  }

  /** All rows of a plan. */
  collect<Row>(plan: Plan<Row>): Effect.Effect<ReadonlyArray<Row>, StorageError> {
    return attempt(() => this.rowsOf(plan))
  }

  /** The number of rows of a plan. */
  count<Row>(plan: Plan<Row>): Effect.Effect<number, StorageError> {
    return attempt(() => {
      const { storage } = this
      if (this.isEmpty(plan)) return 0
      if (plan.filters.length > 0) return this.rowsOf(plan).length
      const state = storage.openScan(plan, undefined, undefined, this.guard)
      if (state.check !== undefined)
        return take(storage.iterateScan(state), plan.limit ?? Number.POSITIVE_INFINITY).length
      if (plan.limit !== undefined) return storage.readKeys(state, plan.limit).length
      return storage.countRows(state)
    })
  }

  /** The rows of a plan, read as they are consumed. */
  stream<Row>(plan: Plan<Row>): Stream.Stream<Row, StorageError> {
    return Stream.suspend(() => {
      const rows = this.iterate(plan)
      const pull = Effect.flatMap(
        attempt(() => rows.next()),
        (next) => (next.done === true ? Cause.done() : Effect.succeed([next.value] as const))
      )
      return Stream.fromPull(Effect.succeed(pull)).pipe(Stream.ensuring(Effect.sync(() => rows.return?.())))
    })
  }

  /** A page of a plan's rows. */
  page<Row>(plan: Plan<Row>, options: PageOptions): Effect.Effect<Page<Row>, StorageError> {
    return attempt(() => {
      if (this.isEmpty(plan)) return { items: [], next: null, split: null }
      const info = this.storage.runtime.table(plan.table)
      const order = cursorOrder(info, plan)
      const after = options.after == null ? undefined : decodeCursor(order, options.after)
      const until = options.until == null ? undefined : decodeCursor(order, options.until)
      const size = Math.min(Math.max(1, Math.floor(options.size) || 1), plan.limit ?? Number.POSITIVE_INFINITY)
      // One extra row shows whether another page follows. A page with a fixed end has all rows up to that end.
      const max = until === undefined ? size + 1 : Number.POSITIVE_INFINITY
      const kept: Array<{ readonly row: Row; readonly sql: SqlRow }> = []
      if (plan.filters.length > 0) {
        for (const sql of this.storage.iterateScan(this.storage.openScan(plan, after, until, this.guard))) {
          const row: Row = this.show(info, sql)
          if (plan.filters.every((filter) => filter(row)) && kept.push({ row, sql }) === max) break
        }
      } else {
        for (const sql of this.sqlRows(plan, after, max, until)) kept.push({ row: this.show(info, sql), sql })
      }
      const items = until === undefined ? kept.slice(0, size) : kept
      const cursorOf = ({ sql }: { readonly sql: SqlRow }) => Cursor.encode(order, keyOf(Scan.orderOf(info, plan), sql))
      return {
        items: items.map(({ row }) => row),
        next: options.until ?? (kept.length > items.length ? cursorOf(items.at(-1)!) : null),
        split: items.length > 2 * size ? cursorOf(items[Math.floor(items.length / 2)]!) : null
      }
    })
  }

  /** Whether a plan asks for no row. It is refused like the same plan with rows if it follows a hidden field. */
  private isEmpty(plan: Plan<any>): boolean {
    if (plan.limit !== 0) return false
    const scan = this.guard && Scan.make(this.storage.runtime.table(plan.table), plan, undefined, undefined)
    if (scan !== undefined) this.guard?.access(scan, scan.equal)
    return true
  }

  private rowsOf<Row>(plan: Plan<Row>): ReadonlyArray<Row> {
    if (this.isEmpty(plan)) return []
    if (plan.filters.length > 0) return Array.from(this.iterate(plan))
    const info = this.storage.runtime.table(plan.table)
    return this.sqlRows(plan, undefined, plan.limit).map((row) => this.show(info, row))
  }

  /** The rows of a plan without filters, as SQLite stores them. */
  private sqlRows(
    plan: Plan<any>,
    after: Key | undefined,
    limit: number | undefined,
    until?: Key
  ): ReadonlyArray<SqlRow> {
    const { storage } = this
    const state = storage.openScan(plan, after, until, this.guard)
    if (state.check === undefined) return storage.readRows(state, limit ?? Number.POSITIVE_INFINITY)
    // How many rows have to be read for so many that may be shown is found out by reading them.
    return limit === undefined || limit === Number.POSITIVE_INFINITY
      ? storage.readRows(state, Number.POSITIVE_INFINITY).filter(state.check)
      : take(storage.iterateScan(state), limit)
  }

  private *iterate<Row>(plan: Plan<Row>): IterableIterator<Row> {
    if (this.isEmpty(plan)) return
    const info = this.storage.runtime.table(plan.table)
    let count = 0
    for (const row of this.storage.iterateScan(this.storage.openScan(plan, undefined, undefined, this.guard))) {
      const decoded: Row = this.show(info, row)
      if (!plan.filters.every((filter) => filter(decoded))) continue
      count++
      yield decoded
      if (count === plan.limit) return
    }
  }
}

const cursorOrder = (info: TableInfo, plan: Plan<any>): Cursor.Order => {
  const columns = Scan.orderOf(info, plan).map((position) => info.codec.columns[position]!)
  const sensitive = columns.find((column) => info.table.sensitive.has(column.name))
  if (sensitive !== undefined) {
    throw new Error(
      `pages of table ${info.table.name} cannot follow index ${plan.index}: their cursors would show the sensitive ` +
        `column ${sensitive.name}`
    )
  }
  return { table: info.table.name, columns, descending: plan.descending }
}

const decodeCursor = (order: Cursor.Order, cursor: string): Key =>
  Option.getOrThrowWith(Cursor.decode(order, cursor), () =>
    failure(new CursorInvalid({ table: order.table, issue: "not a cursor of this order" }))
  )
