import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import { v7 as uuidv7 } from "uuid"
import type { Storage, StorageWriter } from "../contract/Storage.ts"
import {
  CursorInvalid,
  ReferenceViolation,
  RowInvalid,
  RowUnreadable,
  StatementFailed,
  StorageError,
  type StorageErrorReason,
  StorageLimit,
  UniqueViolation
} from "../contract/Storage.ts"
import type * as Table from "../contract/Table.ts"
import type { Page, PageOptions, Plan } from "../contract/TableQuery.ts"
import * as Limits from "../protocol/Limits.ts"
import * as Cursor from "./Cursor.ts"
import { type Database, type Rows, type SqlValue, toObjects } from "./Database.ts"
import type { Key, Position, Range } from "./KeyOrder.ts"
import * as KeyOrder from "./KeyOrder.ts"
import type { ReadRecorder, WriteRecorder } from "./ReadSet.ts"
import type { SqlRow } from "./RowCodec.ts"
import * as RowCodec from "./RowCodec.ts"
import * as SqlFootprint from "./SqlFootprint.ts"
import { runToEnd } from "./Synchronous.ts"

/** The name under which reads and writes by key are recorded. No declared index can have it. */
export const primaryIndex = ""

/** A table with everything that is the same for every call. */
interface Store {
  readonly table: Table.Any
  readonly codec: RowCodec.RowCodec
  readonly name: string
  readonly columns: string
  readonly keyName: string
  readonly keyPosition: number
  /** Positions of the columns of each index in order, the key last. */
  readonly orders: ReadonlyMap<string, ReadonlyArray<number>>
  /** Who refers to this table. */
  readonly referrers: Array<{ readonly store: Store; readonly column: string; readonly action: OnDelete }>
}

type OnDelete = NonNullable<Table.Reference["onDelete"]>

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** The app's tables over one database, shared by all its sessions. */
export class TableStorage {
  readonly database: Database["Service"]
  readonly limits: Limits.Limits
  readonly footprints: SqlFootprint.SqlFootprint
  private readonly stores = new Map<string, Store>()
  private lastKey = { time: Number.NEGATIVE_INFINITY, sequence: 0 }

  constructor(database: Database["Service"], tables: ReadonlyArray<Table.Any>, limits: Limits.Limits) {
    this.database = database
    this.limits = limits
    this.footprints = SqlFootprint.make({ query: (sql, params) => toObjects(database.all(sql, params)) })
    for (const table of tables) {
      const codec = RowCodec.make(table)
      const position = (column: string) => codec.columnIndex.get(column)!
      const keyPosition = position(table.key)
      const orders = new Map<string, ReadonlyArray<number>>([[primaryIndex, [keyPosition]]])
      for (const index of table.indexes.values()) {
        const positions = index.columns.map(position)
        orders.set(index.name, positions.includes(keyPosition) ? positions : [...positions, keyPosition])
      }
      this.stores.set(table.name, {
        table,
        codec,
        name: quote(table.name),
        columns: codec.columns.map((column) => quote(column.name)).join(", "),
        keyName: quote(table.key),
        keyPosition,
        orders,
        referrers: []
      })
    }
    for (const store of this.stores.values()) {
      for (const [column, reference] of store.table.references) {
        this.stores
          .get(reference.table().name)
          ?.referrers.push({ store, column, action: reference.onDelete ?? "restrict" })
      }
    }
  }

  store(table: Table.Any): Store {
    const store = this.stores.get(table.name)
    if (store === undefined) throw new Error(`table ${table.name} is not one of the app's tables`)
    return store
  }

  /** The next UUIDv7. Keys of one object ascend, within a millisecond too, so that key order is insert order. */
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

/** A scan under way: what it will have read if it goes on to the end, and the last row it gave. */
interface Scan {
  readonly store: Store
  readonly index: string
  readonly order: ReadonlyArray<number>
  readonly range: Range
  readonly descending: boolean
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
  last: SqlRow | undefined
  ended: boolean
}

const failure = (reason: StorageErrorReason) => new StorageError({ reason })

const attempt = <A>(body: () => A): Effect.Effect<A, StorageError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(body())
    } catch (error) {
      if (error instanceof StorageError) return Effect.fail(error)
      throw error
    }
  })

const rolledBack = Symbol("rolled back")
const formatIssue = SchemaIssue.makeFormatterDefault()

/**
 * Storage as one transaction sees it: the services that a handler gets, and a record of what they read and wrote. It
 * answers synchronously, and no more after `close`.
 */
export class Session implements Context.Service.Shape<typeof Storage>, Context.Service.Shape<typeof StorageWriter> {
  private readonly shared: TableStorage
  private readonly readOnly: boolean
  private readonly reads: ReadRecorder | undefined
  private readonly writes: WriteRecorder | undefined
  private readonly scans: Array<Scan> = []
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
    for (const scan of this.scans) this.reads?.range(scan.store.table.name, scan.index, consumed(scan))
  }

  // --- reading

  get(table: Table.Any, key: unknown): Effect.Effect<Option.Option<any>, StorageError> {
    return attempt(() => {
      const store = this.shared.store(table)
      const row = this.rowByKey(store, this.keyValue(store, key))
      return row === undefined ? Option.none() : Option.some(this.decode(store, row))
    })
  }

  getMany(
    table: Table.Any,
    keys: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<Option.Option<any>>, StorageError> {
    return attempt(() => {
      const store = this.shared.store(table)
      const values = keys.map((key) => this.keyValue(store, key))
      const rows = new Map<SqlValue, SqlRow>()
      for (const value of values) this.recordKey(store, value)
      const distinct = [...new Set(values)]
      for (let i = 0; i < distinct.length; i += Limits.sqlite.boundParameters) {
        const part = distinct.slice(i, i + Limits.sqlite.boundParameters)
        const marks = part.map(() => "?").join(", ")
        const found = this.run(`SELECT ${store.columns} FROM ${store.name} WHERE ${store.keyName} IN (${marks})`, part)
        this.countRead(found.rows.length)
        for (const row of found.rows) rows.set(row[store.keyPosition]!, row)
      }
      return values.map((value) => {
        const row = rows.get(value)
        return row === undefined ? Option.none() : Option.some(this.decode(store, row))
      })
    })
  }

  collect<Row>(plan: Plan<Row>): Effect.Effect<ReadonlyArray<Row>, StorageError> {
    return attempt(() => this.rowsOf(plan))
  }

  count<Row>(plan: Plan<Row>): Effect.Effect<number, StorageError> {
    return attempt(() => {
      if (plan.filters.length > 0) return this.rowsOf(plan).length
      if (plan.limit !== undefined) return plan.limit === 0 ? 0 : this.sqlRows(plan, undefined, plan.limit).length
      const scan = this.scan(plan, undefined, "count(*)", undefined)
      scan.ended = true
      return this.run(scan.sql, scan.params).rows[0]![0] as number
    })
  }

  stream<Row>(plan: Plan<Row>): Stream.Stream<Row, StorageError> {
    return Stream.suspend(() => Stream.fromIteratorSucceed(this.iterate(plan, undefined), 1)).pipe(
      Stream.catchDefect((defect) => (defect instanceof StorageError ? Stream.fail(defect) : Stream.die(defect)))
    )
  }

  page<Row>(plan: Plan<Row>, options: PageOptions): Effect.Effect<Page<Row>, StorageError> {
    return attempt(() => {
      const store = this.shared.store(plan.table)
      const index = plan.index ?? primaryIndex
      const order = store.orders.get(index)!
      const after =
        options.after === undefined
          ? undefined
          : Cursor.decode(options.after, { table: store.table.name, index, columns: order.length })
      if (after === null)
        throw failure(new CursorInvalid({ table: store.table.name, issue: "not a cursor of this order" }))
      const size = Math.max(1, Math.floor(options.size))
      // One row more tells whether another page follows.
      const rows =
        plan.filters.length === 0 ? this.sqlRows(plan, after, size + 1) : this.filtered(plan, after, size + 1)
      const items = rows.slice(0, size)
      return {
        items: items.map((row) => this.decode(store, row)),
        next:
          rows.length > size
            ? Cursor.encode({ table: store.table.name, index, key: order.map((position) => items.at(-1)![position]!) })
            : null
      }
    })
  }

  private rowsOf<Row>(plan: Plan<Row>): ReadonlyArray<Row> {
    if (plan.limit === 0) return []
    if (plan.filters.length > 0) return Array.from(this.iterate(plan, undefined))
    const store = this.shared.store(plan.table)
    return this.sqlRows(plan, undefined, plan.limit).map((row) => this.decode(store, row))
  }

  /** All rows of a plan without filters, as SQLite has them. */
  private sqlRows(plan: Plan<any>, after: Key | undefined, limit: number | undefined): ReadonlyArray<SqlRow> {
    // One row beyond the limit on reads tells that it was met; a scan must not run away before anybody counts.
    const most = Math.min(limit ?? Number.POSITIVE_INFINITY, this.shared.limits.rowsRead - this.rowsRead + 1)
    const scan = this.scan(plan, after, this.shared.store(plan.table).columns, most)
    const { rows } = this.run(scan.sql, scan.params)
    this.countRead(rows.length)
    scan.last = rows.at(-1)
    scan.ended = rows.length < most
    return rows
  }

  private filtered(plan: Plan<any>, after: Key | undefined, limit: number): ReadonlyArray<SqlRow> {
    const store = this.shared.store(plan.table)
    const kept: Array<SqlRow> = []
    for (const row of this.iterateSql(plan, after)) {
      const decoded = this.decode(store, row)
      if (plan.filters.every((filter) => filter(decoded)) && kept.push(row) === limit) break
    }
    return kept
  }

  private *iterate<Row>(plan: Plan<Row>, after: Key | undefined): IterableIterator<Row> {
    if (plan.limit === 0) return
    const store = this.shared.store(plan.table)
    let given = 0
    for (const row of this.iterateSql(plan, after)) {
      const decoded: Row = this.decode(store, row)
      if (!plan.filters.every((filter) => filter(decoded))) continue
      given++
      yield decoded
      if (given === plan.limit) return
    }
  }

  private *iterateSql(plan: Plan<any>, after: Key | undefined): IterableIterator<SqlRow> {
    const scan = this.scan(plan, after, this.shared.store(plan.table).columns, undefined)
    this.check(scan.sql, scan.params)
    try {
      for (const row of this.shared.database.iterate(scan.sql, scan.params)) {
        this.countRead(1)
        scan.last = row
        yield row
      }
      scan.ended = true
    } catch (cause) {
      throw this.statementError(cause)
    }
  }

  /** Turns a plan into a statement, and into the range that it reads of its index. */
  private scan(plan: Plan<any>, after: Key | undefined, select: string, limit: number | undefined): Scan {
    const store = this.shared.store(plan.table)
    const index = plan.index ?? primaryIndex
    const order = store.orders.get(index)
    if (order === undefined) throw new Error(`table ${store.table.name} has no index ${index}`)
    const columnAt = (place: number, name: string) => {
      const column = store.codec.columns[order[place]!]
      if (column?.name !== name) {
        throw new Error(`column ${name} is not the next column of index ${index} of table ${store.table.name}`)
      }
      return column
    }
    const where: Array<string> = []
    const params: Array<SqlValue> = []
    const prefix: Array<SqlValue> = []
    for (const [name, value] of plan.equal) {
      const encoded = this.fieldValue(store, columnAt(prefix.length, name), value)
      where.push(`${quote(name)} ${encoded === null ? "IS" : "="} ?`)
      params.push(encoded)
      prefix.push(encoded)
    }
    let from: Position = { key: prefix, after: false }
    let to: Position = { key: prefix, after: true }
    for (const [bound, sign] of [
      [plan.lower, ">"],
      [plan.upper, "<"]
    ] as const) {
      if (bound === undefined) continue
      const column = columnAt(prefix.length, bound.column)
      const value = this.fieldValue(store, column, bound.value)
      const key = [...prefix, value]
      where.push(`${quote(column.name)} ${sign}${bound.inclusive ? "=" : ""} ?`)
      params.push(value)
      if (sign === ">") {
        from = { key, after: !bound.inclusive }
      } else {
        to = { key, after: bound.inclusive }
        // SQL's comparisons leave NULL out, which is first in the order.
        if (plan.lower === undefined && !column.notNull) from = { key: [...prefix, null], after: true }
      }
    }
    const rest = order.slice(prefix.length)
    if (after !== undefined) {
      const values = after.slice(prefix.length)
      const position = { key: [...prefix, ...values], after: !plan.descending }
      if (plan.descending) {
        if (KeyOrder.comparePositions(position, to) < 0) to = position
      } else if (KeyOrder.comparePositions(position, from) > 0) from = position
      const [condition, bound] = beyond(
        rest.map((column) => store.codec.columns[column]!),
        values,
        plan.descending
      )
      where.push(condition)
      params.push(...bound)
    }
    const scan: Scan = {
      store,
      index,
      order,
      range: { from, to },
      descending: plan.descending,
      sql:
        `SELECT ${select} FROM ${store.name}` +
        (where.length > 0 ? ` WHERE ${where.join(" AND ")}` : "") +
        (select === "count(*)"
          ? ""
          : ` ORDER BY ${rest.map((column) => quote(store.codec.columns[column]!.name) + (plan.descending ? " DESC" : "")).join(", ")}`) +
        (limit === undefined ? "" : " LIMIT ?"),
      params: limit === undefined ? params : [...params, limit],
      last: undefined,
      ended: false
    }
    if (this.reads !== undefined) this.scans.push(scan)
    return scan
  }

  private rowByKey(store: Store, key: SqlValue): SqlRow | undefined {
    this.recordKey(store, key)
    const { rows } = this.run(`SELECT ${store.columns} FROM ${store.name} WHERE ${store.keyName} = ?`, [key])
    this.countRead(rows.length)
    return rows[0]
  }

  private recordKey(store: Store, key: SqlValue): void {
    this.reads?.range(store.table.name, primaryIndex, {
      from: { key: [key], after: false },
      to: { key: [key], after: true }
    })
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
        if (field === store.table.key) continue
        if (value === undefined) delete next[field]
        else next[field] = value
      }
      return Effect.succeed(next)
    })
  }

  replace(table: Table.Any, key: unknown, value: any): Effect.Effect<Option.Option<any>, StorageError> {
    return this.rewrite(table, key, (store, current) =>
      Effect.map(this.insertValues(store, value), (values) => {
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
      const row = this.rowByKey(store, this.keyValue(store, key))
      if (row === undefined) return false
      this.beforeDelete(store, row, new Set())
      this.run(`DELETE FROM ${store.name} WHERE ${store.keyName} = ?`, [row[store.keyPosition]!])
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
    return Effect.flatMap(this.insertValues(store, value), (values) => {
      const row: Record<string, unknown> = { ...values }
      const time = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      for (const column of store.codec.columns) {
        if (column.generated === "key") {
          row[column.name] ??= this.shared.nextKey(time, fiber.getRef(Random.Random))
        } else if (column.generated !== undefined) {
          row[column.name] = DateTime.makeUnsafe(time)
        }
      }
      return this.encode(store, row)
    })
  }

  private insertValues(store: Store, value: any): Effect.Effect<Record<string, unknown>, StorageError> {
    return Effect.mapError(
      store.table.model.insert.makeEffect(value) as Effect.Effect<Record<string, unknown>, SchemaIssue.Issue>,
      (issue) => invalid(store, issue)
    )
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
        attempt(() => this.rowByKey(store, this.keyValue(store, key))),
        (old) => {
          if (old === undefined) return Effect.succeed(Option.none())
          return attempt(() => this.decode(store, old)).pipe(
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
    return Effect.flatMap(
      Effect.mapError(store.table.model.makeEffect(row) as Effect.Effect<any, SchemaIssue.Issue>, (issue) =>
        invalid(store, issue)
      ),
      (value) =>
        attempt(() => {
          const encoded = store.codec.encode(value)
          if (Exit.isFailure(encoded)) throw invalid(store, encoded.cause)
          checkRow(store, encoded.value)
          return { value, sql: encoded.value }
        })
    )
  }

  private insertRows(store: Store, rows: ReadonlyArray<SqlRow>): void {
    if (rows.length === 0) return
    this.countWritten(rows.length)
    const perStatement = Math.max(1, Math.floor(Limits.sqlite.boundParameters / store.codec.columns.length))
    const marks = `(${store.codec.columns.map(() => "?").join(", ")})`
    const insert = () => {
      for (let i = 0; i < rows.length; i += perStatement) {
        const part = rows.slice(i, i + perStatement)
        this.run(
          `INSERT INTO ${store.name} (${store.columns}) VALUES ${part.map(() => marks).join(", ")}`,
          part.flat(),
          { store, rows: part }
        )
      }
    }
    // Several statements are one insert: a later one that fails must not leave the rows of an earlier one.
    if (rows.length > perStatement) this.shared.database.transaction(insert)
    else insert()
    for (const row of rows) this.recordWrite(store, row)
  }

  private updateRow(store: Store, old: SqlRow, next: SqlRow): void {
    const changed: Array<number> = []
    for (let i = 0; i < next.length; i++) {
      if (KeyOrder.compareValues(old[i]!, next[i]!) !== 0) changed.push(i)
    }
    if (changed.length === 0) return
    this.countWritten(1)
    this.run(
      `UPDATE ${store.name} SET ${changed.map((i) => `${quote(store.codec.columns[i]!.name)} = ?`).join(", ")} WHERE ${store.keyName} = ?`,
      [...changed.map((i) => next[i]!), old[store.keyPosition]!],
      { store, rows: [next] }
    )
    this.recordWrite(store, old)
    this.recordWrite(store, next)
  }

  /**
   * Finds the rows that SQLite will delete or change along with this one, so that they are recorded row by row, and
   * refuses the deletion where a reference restricts it.
   */
  private beforeDelete(store: Store, row: SqlRow, seen: Set<string>): void {
    const identity = JSON.stringify([store.table.name, row[store.keyPosition]])
    if (seen.has(identity)) return
    seen.add(identity)
    this.countWritten(1)
    this.recordWrite(store, row)
    for (const { action, column, store: child } of store.referrers) {
      const most = this.shared.limits.rowsWritten - this.rowsWritten + 1
      const { rows } = this.run(`SELECT ${child.columns} FROM ${child.name} WHERE ${quote(column)} = ? LIMIT ?`, [
        row[store.keyPosition]!,
        action === "restrict" ? 1 : most
      ])
      if (rows.length > 0 && action === "restrict") {
        throw failure(new ReferenceViolation({ table: child.table.name, column, action: "restrict" }))
      }
      for (const referring of rows) {
        if (action === "cascade") {
          this.beforeDelete(child, referring, seen)
        } else {
          this.countWritten(1)
          this.recordWrite(child, referring)
          this.recordWrite(child, referring.with(child.codec.columnIndex.get(column)!, null))
        }
      }
    }
  }

  private recordWrite(store: Store, row: SqlRow): void {
    if (this.writes === undefined) return
    for (const [index, order] of store.orders) {
      this.writes.key(
        store.table.name,
        index,
        order.map((position) => row[position]!)
      )
    }
  }

  // --- raw SQL

  /** Runs a statement of the author's own. What it reads and writes is learned from SQLite's own bytecode. */
  raw(sql: string, params: ReadonlyArray<unknown>): Rows {
    const values = params.map(rawValue)
    this.check(sql, values)
    const footprint = this.shared.footprints.footprint(sql, values.length)
    if (this.readOnly && !footprint.readOnly) throw new Error("a query cannot write: make it a mutation")
    if (this.reads !== undefined) {
      if (footprint.reads === "everything") this.reads.everything()
      else for (const table of footprint.reads) this.reads.table(table)
    }
    const result = this.shared.database.all(sql, values)
    if (this.writes !== undefined && !footprint.readOnly) {
      if (footprint.writes === "everything") this.writes.everything()
      else for (const table of footprint.writes) this.writes.table(table)
    }
    this.countRead(result.rows.length)
    return result
  }

  // --- statements, values, limits

  private run(
    sql: string,
    params: ReadonlyArray<SqlValue>,
    writing?: { readonly store: Store; readonly rows: ReadonlyArray<SqlRow> }
  ): Rows {
    this.check(sql, params)
    try {
      return this.shared.database.all(sql, params)
    } catch (cause) {
      throw this.statementError(cause, writing)
    }
  }

  private check(sql: string, params: ReadonlyArray<SqlValue>): void {
    if (this.closed) throw new Error("storage was used after its transaction had ended")
    limit("boundParameters", Limits.sqlite.boundParameters, params.length)
    limit("statementBytes", Limits.sqlite.statementBytes, sql.length)
  }

  private statementError(
    cause: unknown,
    writing?: { readonly store: Store; readonly rows: ReadonlyArray<SqlRow> }
  ): unknown {
    if (cause instanceof StorageError || !(cause instanceof Error)) return cause
    if (writing !== undefined) {
      const { store, rows } = writing
      const table = store.table.name
      const columns = (names: ReadonlyArray<string>) => names.map((name) => `${table}.${name}`).join(", ")
      if (cause.message.includes("UNIQUE constraint failed")) {
        for (const index of store.table.indexes.values()) {
          if (index.unique && cause.message.includes(`failed: ${columns(index.columns)}`)) {
            return failure(new UniqueViolation({ table, index: index.name }))
          }
        }
        return failure(new UniqueViolation({ table, index: store.table.key }))
      }
      if (cause.message.includes("FOREIGN KEY constraint failed")) {
        for (const [column, reference] of store.table.references) {
          const target = this.shared.store(reference.table())
          for (const row of rows) {
            const value = row[store.codec.columnIndex.get(column)!]!
            if (value === null) continue
            const found = this.shared.database.all(`SELECT 1 FROM ${target.name} WHERE ${target.keyName} = ?`, [value])
            if (found.rows.length === 0) {
              return failure(new ReferenceViolation({ table, column, action: "missing" }))
            }
          }
        }
      }
    }
    return failure(new StatementFailed({ cause }))
  }

  private keyValue(store: Store, key: unknown): SqlValue {
    return this.fieldValue(store, store.codec.key, key)
  }

  private fieldValue(store: Store, column: RowCodec.Column, value: unknown): SqlValue {
    const encoded = store.codec.encodeField(column, value)
    if (Option.isNone(encoded)) {
      throw failure(new RowInvalid({ table: store.table.name, issue: `not a value of column ${column.name}` }))
    }
    return encoded.value
  }

  private decode(store: Store, row: SqlRow): any {
    const decoded = store.codec.decode(row)
    if (Exit.isSuccess(decoded)) return decoded.value
    throw failure(new RowUnreadable({ table: store.table.name, issue: String(decoded.cause) }))
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

const limit = (name: Limits.LimitName, max: number, actual: number): void => {
  if (actual > max) throw failure(new StorageLimit({ limit: name, max, actual }))
}

const invalid = (store: Store, issue: unknown): StorageError =>
  failure(
    new RowInvalid({
      table: store.table.name,
      issue: SchemaIssue.isIssue(issue) ? formatIssue(issue) : String(issue)
    })
  )

/** What SQLite would refuse or silently change: rows that are too large, and text that is not well-formed Unicode. */
const checkRow = (store: Store, row: SqlRow): void => {
  let bytes = 0
  for (let i = 0; i < row.length; i++) {
    const value = row[i]
    if (typeof value === "string") {
      if (!value.isWellFormed()) {
        throw invalid(store, `column ${store.codec.columns[i]!.name} has half a surrogate pair`)
      }
      // No more than three bytes of UTF-8 for each unit of UTF-16.
      bytes += value.length * 3 > Limits.sqlite.rowBytes ? new TextEncoder().encode(value).length : value.length
    } else {
      bytes += value instanceof Uint8Array ? value.length : 8
    }
  }
  limit("rowBytes", Limits.sqlite.rowBytes, bytes)
}

/** The part of a scan's range that it has read. */
const consumed = (scan: Scan): Range => {
  if (scan.ended) return scan.range
  if (scan.last === undefined) return { from: scan.range.from, to: scan.range.from }
  const key = scan.order.map((position) => scan.last![position]!)
  return scan.descending
    ? { from: { key, after: false }, to: scan.range.to }
    : { from: scan.range.from, to: { key, after: true } }
}

/** The condition for rows beyond a place in the order of these columns. */
const beyond = (
  columns: ReadonlyArray<RowCodec.Column>,
  values: ReadonlyArray<SqlValue>,
  descending: boolean
): readonly [condition: string, params: ReadonlyArray<SqlValue>] => {
  const sign = descending ? "<" : ">"
  if (columns.every((column) => column.notNull)) {
    const names = columns.map((column) => quote(column.name)).join(", ")
    return [`(${names}) ${sign} (${values.map(() => "?").join(", ")})`, values]
  }
  // NULL is first in the order, and SQL's comparisons do not know it.
  const cases: Array<string> = []
  const params: Array<SqlValue> = []
  for (let i = 0; i < columns.length; i++) {
    const value = values[i]!
    const name = quote(columns[i]!.name)
    const equal = columns.slice(0, i).map((column) => `${quote(column.name)} IS ?`)
    let past: string
    if (value === null) past = descending ? "0" : `${name} IS NOT NULL`
    else past = descending ? `(${name} < ? OR ${name} IS NULL)` : `${name} > ?`
    cases.push([...equal, past].join(" AND "))
    params.push(...values.slice(0, i), ...(value === null ? [] : [value]))
  }
  return [`(${cases.map((condition) => `(${condition})`).join(" OR ")})`, params]
}

/** A parameter of raw SQL as SQLite takes it. */
const rawValue = (value: unknown): SqlValue => {
  switch (typeof value) {
    case "boolean":
      return value ? 1 : 0
    case "number":
    case "string":
      return value
    case "bigint":
      if (BigInt(Number(value)) === value) return Number(value)
      throw new Error("a bigint beyond 2^53 cannot be bound: SQLite on this platform would round it")
    default:
      if (value === null || value === undefined) return null
      if (value instanceof Uint8Array) return value
      if (value instanceof Date) return value.toISOString()
      throw new Error("a parameter of SQL must be a string, a number, a boolean, a date, bytes or null")
  }
}
