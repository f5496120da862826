import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import { v7 as uuidv7 } from "uuid"
import type { Storage, StorageWriter } from "../contract/Storage.ts"
import {
  CursorInvalid,
  ReferenceViolation,
  StatementFailed,
  StorageError,
  UniqueViolation
} from "../contract/Storage.ts"
import type * as Table from "../contract/Table.ts"
import type { Page, PageOptions, Plan } from "../contract/TableQuery.ts"
import * as Limits from "../protocol/Limits.ts"
import * as Cursor from "./Cursor.ts"
import { type Database, type Rows, type SqlValue, take, toObjects } from "./Database.ts"
import * as Deletion from "./Deletion.ts"
import { compareValues, type Key, Range } from "./KeyOrder.ts"
import type { ReadRecorder, WriteRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as RowCodec from "./RowCodec.ts"
import * as Scan from "./Scan.ts"
import * as SqlFootprint from "./SqlFootprint.ts"
import { checkRow, checkStatement, limit, limitOf } from "./StatementLimits.ts"
import {
  decode,
  encode,
  failure,
  fieldValue,
  identity,
  invalid,
  keyOf,
  makeAll,
  primaryIndex,
  quote,
  type Store
} from "./Store.ts"
import { runToEnd } from "./Synchronous.ts"

/** The app's tables over one database, shared by all its sessions. */
export class TableStorage {
  readonly database: Database["Service"]
  readonly limits: Limits.Limits
  readonly footprints: SqlFootprint.SqlFootprint
  private readonly stores: ReadonlyMap<string, Store>
  private lastKey = { time: Number.NEGATIVE_INFINITY, sequence: 0 }

  constructor(database: Database["Service"], tables: ReadonlyArray<Table.Any>, limits: Limits.Limits) {
    this.database = database
    this.limits = limits
    this.footprints = SqlFootprint.make({ query: (sql, params) => toObjects(database.all(sql, params)) })
    this.stores = makeAll(tables)
  }

  store(table: Table.Any): Store {
    const store = this.stores.get(table.name)
    if (store === undefined) throw new Error(`table ${table.name} is not one of the app's tables`)
    return store
  }

  /** The next UUIDv7. Keys ascend, within a millisecond too, as long as one heap makes them. */
  nextKey(time: number, random: Random.Random): string {
    if (time > this.lastKey.time) {
      this.lastKey = { time, sequence: Math.floor(random.nextDoubleUnsafe() * 2 ** 31) }
    } else {
      this.lastKey = { time: this.lastKey.time, sequence: this.lastKey.sequence + 1 }
    }
    const bytes = new Uint8Array(16)
    for (let i = 10; i < 16; i++) bytes[i] = Math.floor(random.nextDoubleUnsafe() * 256)
    return uuidv7({ msecs: this.lastKey.time, seq: this.lastKey.sequence, random: bytes })
  }
}

export interface SessionOptions {
  readonly readOnly?: boolean
  readonly reads?: ReadRecorder
  readonly writes?: WriteRecorder
}

/** A scan under way. */
interface Reading {
  readonly scan: Scan.Scan
  /** The last key that was given. */
  last: Key | undefined
  /** Whether all of the range counts as read: until rows come, because a scan that fails may have looked at any. */
  whole: boolean
}

/** The rows that a statement writes. */
interface Writing {
  readonly store: Store
  readonly rows: ReadonlyArray<SqlRow>
}

/** Rows on their way from SQLite to a filter or a stream. */
interface Feed {
  rows: IterableIterator<SqlRow>
}

const attempt = <A>(body: () => A): Effect.Effect<A, StorageError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(body())
    } catch (error) {
      if (error instanceof StorageError) return Effect.fail(error)
      throw error
    }
  })

/** Words by which SQL asks what no table holds: the time, or chance. One in a string or a name does no harm. */
const looksAtTime = /\b(now|current_time|current_date|current_timestamp|unixepoch|julianday|random|randomblob)\b/i

const rolledBack = Symbol("rolled back")

/**
 * Storage as one transaction sees it: the services that a handler gets, and a record of what they read and wrote. It
 * answers synchronously, and no more after `close`.
 */
export class Session implements Context.Service.Shape<typeof Storage>, Context.Service.Shape<typeof StorageWriter> {
  private readonly shared: TableStorage
  private readonly readOnly: boolean
  private readonly reads: ReadRecorder | undefined
  private readonly writes: WriteRecorder | undefined
  private readonly readings: Array<Reading> = []
  private readonly feeds = new Set<Feed>()
  private rowsRead = 0
  private rowsWritten = 0
  private closed = false

  constructor(shared: TableStorage, options: SessionOptions = {}) {
    this.shared = shared
    this.readOnly = options.readOnly ?? false
    this.reads = options.reads
    this.writes = options.writes
  }

  /** Ends the session and completes its record of reads. */
  close(): void {
    this.closed = true
    for (const { rows } of this.feeds) rows.return?.()
    for (const { last, scan, whole } of this.readings) {
      this.reads?.range(scan.store.table.name, scan.index, whole ? scan.range : Scan.consumed(scan, last))
    }
  }

  // --- reading

  get(table: Table.Any, key: unknown): Effect.Effect<Option.Option<any>, StorageError> {
    return attempt(() => {
      const store = this.shared.store(table)
      const row = this.rowByKey(store, fieldValue(store, store.codec.key, key))
      return row === undefined ? Option.none() : Option.some(decode(store, row))
    })
  }

  getMany(
    table: Table.Any,
    keys: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<Option.Option<any>>, StorageError> {
    return attempt(() => {
      const store = this.shared.store(table)
      const values = keys.map((key) => fieldValue(store, store.codec.key, key))
      const distinct = [...new Map(values.map((value) => [identity(store, value), value])).values()]
      for (const value of distinct) this.recordKey(store, value)
      const rows = new Map<string, SqlRow>()
      for (let i = 0; i < distinct.length; i += Limits.sqlite.boundParameters) {
        const part = distinct.slice(i, i + Limits.sqlite.boundParameters)
        const marks = part.map(() => "?").join(", ")
        const found = this.run(`SELECT ${store.columns} FROM ${store.name} WHERE ${store.keyName} IN (${marks})`, part)
        this.countRead(found.rows.length)
        for (const row of found.rows) rows.set(identity(store, row[store.keyPosition]!), row)
      }
      return values.map((value) => {
        const row = rows.get(identity(store, value))
        return row === undefined ? Option.none() : Option.some(decode(store, row))
      })
    })
  }

  collect<Row>(plan: Plan<Row>): Effect.Effect<ReadonlyArray<Row>, StorageError> {
    return attempt(() => this.rowsOf(plan))
  }

  count<Row>(plan: Plan<Row>): Effect.Effect<number, StorageError> {
    return attempt(() => {
      if (plan.limit === 0) return 0
      if (plan.filters.length > 0) return this.rowsOf(plan).length
      const reading = this.begin(plan, undefined)
      if (plan.limit !== undefined) return this.read(reading, Scan.keys, plan.limit, (key) => key).length
      if (Scan.isEmpty(reading.scan)) return 0
      const { params, sql } = Scan.count(reading.scan, this.rowsLeft() + 1)
      const count = this.run(sql, params).rows[0]![0] as number
      this.countRead(count)
      return count
    })
  }

  stream<Row>(plan: Plan<Row>): Stream.Stream<Row, StorageError> {
    return Stream.suspend(() => {
      const rows = this.iterate(plan)
      return Stream.fromIteratorSucceed(rows, 1).pipe(Stream.ensuring(Effect.sync(() => rows.return?.())))
    }).pipe(Stream.catchDefect((defect) => (defect instanceof StorageError ? Stream.fail(defect) : Stream.die(defect))))
  }

  page<Row>(plan: Plan<Row>, options: PageOptions): Effect.Effect<Page<Row>, StorageError> {
    return attempt(() => {
      if (plan.limit === 0) return { items: [], next: null, split: null }
      const store = this.shared.store(plan.table)
      const order = this.cursorOrder(store, plan)
      const after = options.after == null ? undefined : this.place(order, options.after)
      const until = options.until == null ? undefined : this.place(order, options.until)
      const size = Math.min(Math.max(1, Math.floor(options.size) || 1), plan.limit ?? Number.POSITIVE_INFINITY)
      // One row more tells whether another page follows. A page with a given end holds all rows up to there.
      const most = until === undefined ? size + 1 : Number.POSITIVE_INFINITY
      const kept: Array<{ readonly row: Row; readonly sql: SqlRow }> = []
      if (plan.filters.length > 0) {
        for (const sql of this.iterateSql(plan, after, until)) {
          const row: Row = decode(store, sql)
          if (plan.filters.every((filter) => filter(row)) && kept.push({ row, sql }) === most) break
        }
      } else {
        for (const sql of this.sqlRows(plan, after, most, until)) kept.push({ row: decode(store, sql), sql })
      }
      const items = until === undefined ? kept.slice(0, size) : kept
      const cursorOf = ({ sql }: { readonly sql: SqlRow }) =>
        Cursor.encode(order, keyOf(Scan.orderOf(store, plan), sql))
      return {
        items: items.map(({ row }) => row),
        next: options.until ?? (kept.length > items.length ? cursorOf(items.at(-1)!) : null),
        split: items.length > 2 * size ? cursorOf(items[Math.floor(items.length / 2)]!) : null
      }
    })
  }

  private cursorOrder(store: Store, plan: Plan<any>): Cursor.Order {
    const columns = Scan.orderOf(store, plan).map((position) => store.codec.columns[position]!)
    const sensitive = columns.find((column) => store.table.sensitive.has(column.name))
    if (sensitive !== undefined) {
      throw new Error(
        `pages of table ${store.table.name} cannot follow index ${plan.index}: their cursors would show the sensitive ` +
          `column ${sensitive.name}`
      )
    }
    return { table: store.table.name, columns, descending: plan.descending }
  }

  private place(order: Cursor.Order, cursor: string): Key {
    return Option.getOrThrowWith(Cursor.decode(order, cursor), () =>
      failure(new CursorInvalid({ table: order.table, issue: "not a cursor of this order" }))
    )
  }

  private rowsOf<Row>(plan: Plan<Row>): ReadonlyArray<Row> {
    if (plan.limit === 0) return []
    if (plan.filters.length > 0) return Array.from(this.iterate(plan))
    const store = this.shared.store(plan.table)
    return this.sqlRows(plan, undefined, plan.limit).map((row) => decode(store, row))
  }

  /** All rows of a plan without filters, as SQLite has them. */
  private sqlRows(
    plan: Plan<any>,
    after: Key | undefined,
    limit: number | undefined,
    until?: Key
  ): ReadonlyArray<SqlRow> {
    const reading = this.begin(plan, after, until)
    return this.read(reading, Scan.rows, limit ?? Number.POSITIVE_INFINITY, (row) => keyOf(reading.scan.order, row))
  }

  private read(
    reading: Reading,
    select: (scan: Scan.Scan, most: number) => Scan.Statement,
    limit: number,
    keyOf: (row: SqlRow) => Key
  ): ReadonlyArray<SqlRow> {
    if (Scan.isEmpty(reading.scan)) return []
    // One row beyond the limit on reads tells that it was met; a scan must not run away before anybody counts.
    const most = Math.min(limit, this.rowsLeft() + 1)
    const { params, sql } = select(reading.scan, most)
    const { rows } = this.run(sql, params)
    reading.whole = rows.length < most
    if (!reading.whole) reading.last = keyOf(rows.at(-1)!)
    this.countRead(rows.length)
    return rows
  }

  private *iterate<Row>(plan: Plan<Row>): IterableIterator<Row> {
    if (plan.limit === 0) return
    const store = this.shared.store(plan.table)
    let given = 0
    for (const row of this.iterateSql(plan, undefined)) {
      const decoded: Row = decode(store, row)
      if (!plan.filters.every((filter) => filter(decoded))) continue
      given++
      yield decoded
      if (given === plan.limit) return
    }
  }

  private *iterateSql(plan: Plan<any>, after: Key | undefined, until?: Key): IterableIterator<SqlRow> {
    const reading = this.begin(plan, after, until)
    if (Scan.isEmpty(reading.scan)) return
    const { params, sql } = Scan.rows(reading.scan)
    checkStatement(sql, params)
    const feed: Feed = { rows: this.shared.database.iterate(sql, params) }
    this.feeds.add(feed)
    try {
      for (;;) {
        const next = feed.rows.next()
        if (next.done === true) break
        reading.whole = false
        reading.last = keyOf(reading.scan.order, next.value)
        this.countRead(1)
        yield next.value
        this.checkOpen()
      }
      reading.whole = true
    } catch (cause) {
      if (!(cause instanceof StorageError)) reading.whole = true
      throw this.statementError(cause)
    } finally {
      this.feeds.delete(feed)
      feed.rows.return?.()
    }
  }

  private begin(plan: Plan<any>, after: Key | undefined, until?: Key): Reading {
    const reading = { scan: Scan.make(this.shared.store(plan.table), plan, after, until), last: undefined, whole: true }
    if (this.reads !== undefined) this.readings.push(reading)
    return reading
  }

  private rowByKey(store: Store, key: SqlValue): SqlRow | undefined {
    this.recordKey(store, key)
    const { rows } = this.run(`SELECT ${store.columns} FROM ${store.name} WHERE ${store.keyName} = ?`, [key])
    this.countRead(rows.length)
    return rows[0]
  }

  private recordKey(store: Store, key: SqlValue): void {
    this.reads?.range(store.table.name, primaryIndex, Range.point([key]))
  }

  /**
   * To be called before anything is written and before a nested transaction ends. Open scans take over what they have not
   * given yet: they go on with the rows as they were, and never meet a row that was moved ahead of them while they ran.
   */
  private settle(): void {
    for (const feed of this.feeds) {
      feed.rows = take(feed.rows, this.rowsLeft() + 1)[Symbol.iterator]()
    }
    this.feeds.clear()
  }

  // --- writing

  insertMany(table: Table.Any, values: ReadonlyArray<any>): Effect.Effect<ReadonlyArray<any>, StorageError> {
    return Effect.withFiber((fiber) => {
      const store = this.shared.store(table)
      return Effect.flatMap(
        Effect.forEach(values, (value) => this.newRow(store, value, fiber)),
        (rows) =>
          attempt(() => {
            this.insertRows(
              store,
              rows.map((row) => row.sql)
            )
            return rows.map((row) => row.value)
          })
      )
    })
  }

  patch(table: Table.Any, key: unknown, changes: object): Effect.Effect<Option.Option<any>, StorageError> {
    return this.rewrite(table, key, (store, current) => {
      const next: Record<string, unknown> = { ...current }
      for (const [field, value] of Object.entries(changes)) {
        if (!store.updatable.has(field)) continue
        if (value === undefined && store.codec.columns[store.codec.columnIndex.get(field)!]!.optional)
          delete next[field]
        else next[field] = value
      }
      if (!store.checksUpdates) return Effect.succeed(next)
      return Effect.as(this.validate(store, store.table.model.update, next), next)
    })
  }

  replace(table: Table.Any, key: unknown, value: any): Effect.Effect<Option.Option<any>, StorageError> {
    return this.rewrite(table, key, (store, current) =>
      Effect.map(this.validate(store, store.table.model.insert, value), (values) => {
        const next: Record<string, unknown> = { ...values, [store.table.key]: key }
        for (const column of store.codec.columns) {
          if (column.generated === "insertedAt") next[column.name] = current[column.name]
        }
        return next
      })
    )
  }

  upsert(table: Table.Any, value: any): Effect.Effect<any, StorageError> {
    const insert = Effect.map(this.insertMany(table, [value]), (rows) => rows[0]!)
    const key = value[table.key]
    if (key === undefined) return insert
    return Effect.flatMap(
      this.replace(table, key, value),
      Option.match({ onNone: () => insert, onSome: Effect.succeed })
    )
  }

  delete(table: Table.Any, key: unknown): Effect.Effect<boolean, StorageError> {
    return attempt(() => {
      const store = this.shared.store(table)
      const row = this.rowByKey(store, fieldValue(store, store.codec.key, key))
      if (row === undefined) return false
      const select = ({ params, sql }: Scan.Statement) => this.run(sql, params).rows
      const deletion = Deletion.make(store, row, select, this.shared.limits.rowsWritten - this.rowsWritten)
      this.countWritten(deletion.deleted.size + deletion.emptied.size)
      this.settle()
      this.together(Deletion.statements(deletion))
      for (const { row, store } of deletion.deleted.values()) this.recordWrite(store, row)
      for (const { next, old, store } of deletion.emptied.values()) {
        this.recordWrite(store, old)
        this.recordWrite(store, next)
      }
      return true
    })
  }

  atomically<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.withFiber((fiber: Fiber.Fiber<any, any>) => {
      const mark = this.writes?.mark()
      // The fiber that runs this effect has everything the effect requires.
      const context = fiber.context as Context.Context<R>
      let exit: Exit.Exit<A, E> | undefined
      try {
        this.shared.database.transaction(() => {
          exit = runToEnd(effect, context)
          this.settle()
          if (Exit.isFailure(exit)) throw rolledBack
        })
      } catch (cause) {
        if (cause !== rolledBack) throw cause
        if (mark !== undefined) this.writes?.rollbackTo(mark)
      }
      return exit!
    })
  }

  /** A new row: the author's values, validated, and what the table fills in. */
  private newRow(store: Store, value: any, fiber: Fiber.Fiber<any, any>) {
    return Effect.flatMap(this.validate(store, store.table.model.insert, value), (values) => {
      const row: Record<string, unknown> = { ...values }
      const time = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      for (const column of store.codec.columns) {
        if (column.generated === "key") {
          row[column.name] ??= store.toKey(this.shared.nextKey(time, fiber.getRef(Random.Random)))
        } else if (column.generated !== undefined) {
          row[column.name] = DateTime.makeUnsafe(time)
        }
      }
      return this.encode(store, row)
    })
  }

  private validate(store: Store, schema: Schema.Top, value: unknown): Effect.Effect<any, StorageError> {
    const made = schema.makeEffect(value as never) as Effect.Effect<unknown, SchemaIssue.Issue>
    return Effect.mapError(made, (issue) => invalid(store, RowCodec.formatIssue(issue)))
  }

  /** Reads a row, computes its successor and writes the columns that differ. */
  private rewrite(
    table: Table.Any,
    key: unknown,
    next: (store: Store, current: any) => Effect.Effect<Record<string, unknown>, StorageError>
  ): Effect.Effect<Option.Option<any>, StorageError> {
    return Effect.withFiber((fiber) => {
      const store = this.shared.store(table)
      return Effect.flatMap(
        attempt(() => this.rowByKey(store, fieldValue(store, store.codec.key, key))),
        (old) => {
          if (old === undefined) return Effect.succeed(Option.none())
          return attempt(() => decode(store, old)).pipe(
            Effect.flatMap((current) => next(store, current)),
            Effect.flatMap((row) => {
              for (const column of store.codec.columns) {
                if (column.generated === "updatedAt") {
                  row[column.name] = DateTime.makeUnsafe(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
                }
              }
              return this.encode(store, row)
            }),
            Effect.flatMap((row) =>
              attempt(() => {
                this.updateRow(store, old, row.sql)
                return Option.some(row.value)
              })
            )
          )
        }
      )
    })
  }

  private encode(
    store: Store,
    row: object
  ): Effect.Effect<{ readonly value: any; readonly sql: SqlRow }, StorageError> {
    return Effect.flatMap(this.validate(store, store.table.model, row), (value) =>
      attempt(() => {
        const sql = encode(store, value)
        checkRow(sql)
        store.decoded?.keep(sql[store.keyPosition]!, sql, value)
        return { value, sql }
      })
    )
  }

  private insertRows(store: Store, rows: ReadonlyArray<SqlRow>): void {
    if (rows.length === 0) return
    this.countWritten(rows.length)
    this.settle()
    const perStatement = Math.max(1, Math.floor(Limits.sqlite.boundParameters / store.codec.columns.length))
    const statements: Array<Scan.Statement & { readonly writing: Writing }> = []
    for (let i = 0; i < rows.length; i += perStatement) {
      const part = rows.slice(i, i + perStatement)
      const sql = part.length === 1 ? store.insert : `${store.insert}${`, ${store.marks}`.repeat(part.length - 1)}`
      statements.push({ sql, params: part.flat(), writing: { store, rows: part } })
    }
    this.together(statements)
    for (const row of rows) this.recordWrite(store, row)
  }

  /** Several statements are one operation: a later one that fails must not leave what an earlier one has done. */
  private together(statements: ReadonlyArray<Scan.Statement & { readonly writing?: Writing }>): void {
    const run = () => {
      for (const { params, sql, writing } of statements) this.write(sql, params, writing)
    }
    if (statements.length > 1) this.shared.database.transaction(run)
    else run()
  }

  private updateRow(store: Store, old: SqlRow, next: SqlRow): void {
    const changed: Array<number> = []
    for (let i = 0; i < next.length; i++) {
      if (compareValues(old[i]!, next[i]!) !== 0) changed.push(i)
    }
    if (changed.length === 0) return
    this.countWritten(1)
    this.settle()
    this.write(
      `UPDATE ${store.name} SET ${changed.map((i) => `${quote(store.codec.columns[i]!.name)} = ?`).join(", ")} WHERE ${store.keyName} = ?`,
      [...changed.map((i) => next[i]!), old[store.keyPosition]!],
      { store, rows: [next] }
    )
    this.recordWrite(store, old)
    this.recordWrite(store, next)
  }

  private recordWrite(store: Store, row: SqlRow): void {
    if (this.writes === undefined) return
    for (const [index, order] of store.orders) this.writes.key(store.table.name, index, keyOf(order, row))
  }

  // --- raw SQL

  /** Runs a statement of the author's own. What it reads and writes is learned from SQLite's own bytecode. */
  raw(sql: string, params: ReadonlyArray<SqlValue>): Rows {
    this.checkOpen()
    checkStatement(sql, params)
    const footprint = this.shared.footprints.footprint(sql, params.length)
    if (this.readOnly && !footprint.readOnly) throw new Error("a query cannot write: make it a mutation")
    if (this.reads !== undefined) {
      if (footprint.reads === "everything") this.reads.everything()
      else for (const table of footprint.reads) this.reads.table(table)
      if (looksAtTime.test(sql)) this.reads.clock()
    }
    try {
      return footprint.readOnly ? this.readRaw(sql, params) : this.writeRaw(sql, params, footprint)
    } catch (cause) {
      throw limitOf(cause, params) ?? cause
    }
  }

  private readRaw(sql: string, params: ReadonlyArray<SqlValue>): Rows {
    const result = this.shared.database.all(sql, params, this.rowsLeft() + 1)
    this.countRead(result.rows.length)
    return result
  }

  private writeRaw(sql: string, params: ReadonlyArray<SqlValue>, { writes }: SqlFootprint.Footprint): Rows {
    this.settle()
    // What was too much is only known when it is written, and an author may go on after the error.
    const result = this.shared.database.transaction(() => {
      const before = this.totalChanges()
      const result = this.readRaw(sql, params)
      this.countWritten(this.totalChanges() - before)
      return result
    })
    if (writes === "everything") this.writes?.everything()
    else for (const table of writes) this.writes?.table(table)
    return result
  }

  /** The rows that were ever written, those of cascades and triggers included. */
  private totalChanges(): number {
    return this.shared.database.all("SELECT total_changes()", []).rows[0]![0] as number
  }

  // --- statements, values, limits

  private run(sql: string, params: ReadonlyArray<SqlValue>): Rows {
    this.checkOpen()
    checkStatement(sql, params)
    try {
      return this.shared.database.all(sql, params)
    } catch (cause) {
      throw this.statementError(cause)
    }
  }

  private write(sql: string, params: ReadonlyArray<SqlValue>, writing: Writing | undefined): void {
    this.checkOpen()
    checkStatement(sql, params)
    try {
      this.shared.database.run(sql, params)
    } catch (cause) {
      throw this.statementError(cause, writing)
    }
  }

  private checkOpen(): void {
    if (this.closed) throw new Error("storage was used after its transaction had ended")
  }

  private statementError(cause: unknown, writing?: Writing): unknown {
    if (cause instanceof StorageError || !(cause instanceof Error)) return cause
    const violation = writing && this.violationOf(cause.message, writing)
    return violation ?? limitOf(cause, []) ?? failure(new StatementFailed({ cause }))
  }

  /** The constraint that these rows did not keep. */
  private violationOf(message: string, { rows, store }: Writing): StorageError | undefined {
    const { indexes, key, name: table, references } = store.table
    if (message.includes("UNIQUE constraint failed: ")) {
      const unique = [{ name: key, columns: [key] }, ...[...indexes.values()].filter((index) => index.unique)]
      const columnsOf = (index: (typeof unique)[number]) => index.columns.map((name) => `${table}.${name}`).join(", ")
      // One list may be the beginning of another, and the longest one is meant.
      const failed = unique
        .filter((index) => message.includes(`failed: ${columnsOf(index)}`))
        .toSorted((a, b) => columnsOf(b).length - columnsOf(a).length)[0]
      return failure(new UniqueViolation({ table, index: failed?.name ?? key }))
    }
    if (message.includes("FOREIGN KEY constraint failed")) {
      for (const [column, reference] of references) {
        const target = this.shared.store(reference.table())
        // The statement was undone, but its own rows could be referred to while it ran.
        const written = new Set(target === store ? rows.map((row) => identity(store, row[store.keyPosition]!)) : [])
        for (const row of rows) {
          const value = row[store.codec.columnIndex.get(column)!]!
          if (value === null || written.has(identity(target, value))) continue
          const found = this.shared.database.all(`SELECT 1 FROM ${target.name} WHERE ${target.keyName} = ?`, [value])
          if (found.rows.length === 0) return failure(new ReferenceViolation({ table, column, action: "missing" }))
        }
      }
    }
    return undefined
  }

  private rowsLeft(): number {
    return Math.max(0, this.shared.limits.rowsRead - this.rowsRead)
  }

  private countRead(rows: number): void {
    this.rowsRead += rows
    limit("rowsRead", this.shared.limits.rowsRead, this.rowsRead)
  }

  private countWritten(rows: number): void {
    this.rowsWritten += rows
    limit("rowsWritten", this.shared.limits.rowsWritten, this.rowsWritten)
  }
}
