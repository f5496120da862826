/**
 * The `StorageWriter` service of one transaction: inserts, patches, replaces and deletes rows.
 * Values are checked before a statement runs. Each write is recorded with the row's old and new key in every index.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type { StorageWriter } from "../../contract/Storage.ts"
import { ReferenceViolation, StorageError, UniqueViolation } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import { untyped } from "../../protocol/JsonCodec.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import * as Deletion from "./Deletion.ts"
import { compareValues } from "./KeyOrder.ts"
import type { PolicyGuard } from "./PolicyPort.ts"
import * as RowCodec from "./RowCodec.ts"
import type { Statement } from "./Scan.ts"
import { checkRow } from "./StatementLimits.ts"
import { runSyncOrDie } from "./Synchronous.ts"
import { decode, encode, failure, fieldValue, invalid, rowId, type TableInfo } from "./TableInfo.ts"
import { attempt, SqlTransaction, type TransactionStorage } from "./TransactionStorage.ts"

type Fields = Record<string, unknown>

/** A row of the model, and the same row as SQLite stores it. */
export interface EncodedRow {
  readonly value: any
  readonly sql: RowCodec.SqlRow
}

/** The rows that a statement writes, to find the constraint that it violated. */
interface WrittenRows {
  readonly info: TableInfo
  readonly rows: ReadonlyArray<RowCodec.SqlRow>
  readonly operation: "insert" | "update"
}

/** A row as a write changes it, and the fields to which the write gives a value. */
interface NextRow {
  readonly next: Fields
  readonly named: ReadonlySet<string>
}

/** The error for the constraint that a statement violated, from SQLite's message. */
type ViolationOf = (message: string) => StorageError | undefined

const foreignKeyFailed = "FOREIGN KEY constraint failed"

const rolledBack = Symbol("rolled back")

/** Writes rows in one transaction. */
export class TableWriter implements Context.Service.Shape<typeof StorageWriter> {
  private readonly storage: TransactionStorage
  /** What the caller may write; `undefined` for everything. */
  private readonly guard: PolicyGuard | undefined

  constructor(storage: TransactionStorage, guard?: PolicyGuard) {
    this.storage = storage
    this.guard = guard
  }

  /** Inserts all rows or none. */
  insertMany(table: AnyTable, values: ReadonlyArray<any>): Effect.Effect<ReadonlyArray<any>, StorageError> {
    return operation((fiber) => {
      const info = this.storage.runtime.table(table)
      const { guard } = this
      const rows = values.map((value) =>
        this.newRow(info, guard === undefined ? value : guard.withSet(info, value, "insert"), fiber)
      )
      const stored = rows.map(({ sql }) => sql)
      guard?.checkInsert(info, stored)
      this.insertStored(info, stored)
      for (const { sql, value } of rows) this.storage.cacheWritten(info, sql, value)
      return rows.map((row) => this.shown(info, row))
    })
  }

  /** Changes some fields of a row. */
  patch(table: AnyTable, key: unknown, changes: object): Effect.Effect<Option.Option<any>, StorageError> {
    return this.rewrite(table, key, true, (info, current, fiber) => {
      const next: Fields = { ...current }
      const named = new Set<string>()
      for (const [field, value] of Object.entries(changes)) {
        if (!info.updatable.has(field)) continue
        named.add(field)
        const isRemoved = value === undefined && info.codec.columns[info.codec.columnIndex.get(field)!]!.optional
        if (isRemoved) delete next[field]
        else next[field] = value
      }
      if (info.checksUpdates) validate(info, info.table.model.update, next, fiber)
      return { next, named }
    })
  }

  /** Replaces every field of a row but its key and `insertedAt`. */
  replace(table: AnyTable, key: unknown, value: any): Effect.Effect<Option.Option<any>, StorageError> {
    return this.rewrite(table, key, false, (info, current, fiber) => {
      const given = this.guard === undefined ? value : this.guard.withSet(info, value, "update")
      const next: Fields = { ...validate(info, info.table.model.insert, given, fiber), [info.table.key]: key }
      const named = new Set<string>()
      for (const column of info.codec.columns) {
        if (column.generated === "insertedAt") next[column.name] = current[column.name]
        else if (column.generated === undefined) named.add(column.name)
      }
      return { next, named }
    })
  }

  /** Replaces the row with the same key, or inserts one. */
  upsert(table: AnyTable, value: any): Effect.Effect<any, StorageError> {
    const insert = Effect.map(this.insertMany(table, [value]), (rows) => rows[0]!)
    const key = value[table.key]
    if (key === undefined) return insert
    return Effect.flatMap(
      this.replace(table, key, value),
      Option.match({ onNone: () => insert, onSome: Effect.succeed })
    )
  }

  /** Deletes a row, with what references to it require. Returns whether there was a row. */
  delete(table: AnyTable, key: unknown): Effect.Effect<boolean, StorageError> {
    return attempt(() => {
      const { storage } = this
      const info = storage.runtime.table(table)
      const row = storage.rowByKey(info, fieldValue(info, info.codec.key, key))
      if (row === undefined || this.guard?.canRead(info, row) === false) return false
      this.guard?.checkBefore(info, row, "delete")
      const select = ({ params, sql }: Statement) => storage.all(sql, params).rows
      const deletion = Deletion.make(info, row, select, storage.writesLeft(), this.guard)
      storage.countWritten(deletion.deleted.size + deletion.nulled.size)
      storage.bufferOpenCursors()
      for (const { info, row } of deletion.deleted.values()) storage.invalidateRow(info, row[info.keyPosition]!)
      for (const { info, old } of deletion.nulled.values()) storage.invalidateRow(info, old[info.keyPosition]!)
      this.runAtomically(
        Deletion.statements(deletion).map((statement) => ({
          ...statement,
          violationOf: (message: string) =>
            message.includes(foreignKeyFailed)
              ? Deletion.restriction(statement, storage.runtime.retired(), select)
              : undefined
        }))
      )
      for (const { info, row } of deletion.deleted.values()) storage.recordChange(info, row, undefined)
      for (const { info, next, old } of deletion.nulled.values()) storage.recordChange(info, old, next)
      return true
    })
  }

  /** Runs an effect in a nested transaction: when it fails, only what it wrote is rolled back. */
  atomically<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.contextWith((context: Context.Context<R>) => {
      const { storage } = this
      const mark = storage.mark()
      const part = Option.match(Context.getOption(context, SqlTransaction), {
        onNone: () => context,
        onSome: ([connection, depth]) => Context.add(context, SqlTransaction, [connection, depth + 1])
      })
      let exit: Exit.Exit<A, E> | undefined
      try {
        storage.runtime.database.transaction(() => {
          exit = runSyncOrDie(effect, part)
          storage.bufferOpenCursors()
          if (Exit.isFailure(exit)) throw rolledBack
        })
      } catch (cause) {
        if (cause !== rolledBack) throw cause
        storage.rollbackTo(mark)
      }
      return exit!
    })
  }

  /** A new row: the validated values of the author, and the generated values. */
  newRow(info: TableInfo, value: any, fiber: Fiber.Fiber<any, any>): EncodedRow {
    const row: Fields = info.insertIsPlain
      ? pick(info.insertable, value)
      : { ...validate(info, info.table.model.insert, value, fiber) }
    const time = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    for (const column of info.generated) {
      if (column.generated === "key") {
        row[column.name] ??= info.toKey(this.storage.runtime.nextKey(time, fiber.getRef(Random.Random)))
      } else row[column.name] = DateTime.makeUnsafe(time)
    }
    return this.encode(info, row, fiber)
  }

  /** Reads a row, computes its new values and writes the columns that changed. */
  private rewrite(
    table: AnyTable,
    key: unknown,
    isPatch: boolean,
    change: (info: TableInfo, current: any, fiber: Fiber.Fiber<any, any>) => NextRow
  ): Effect.Effect<Option.Option<any>, StorageError> {
    return operation((fiber) => {
      const { guard } = this
      const info = this.storage.runtime.table(table)
      const old = this.storage.rowByKey(info, fieldValue(info, info.codec.key, key))
      if (old === undefined || guard?.canRead(info, old) === false) return Option.none()
      guard?.checkBefore(info, old, "update")
      const { encoded, named } = describedFor(guard, info, old, () => {
        const { named, next } = change(info, decode(info, old), fiber)
        for (const column of info.generated) {
          if (column.generated === "updatedAt") {
            next[column.name] = DateTime.makeUnsafe(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
          }
        }
        return { encoded: this.encode(info, next, fiber), named }
      })
      guard?.checkChange(info, { old, next: encoded.sql, named, isPatch })
      this.updateStored(info, old, encoded)
      return Option.some(this.shown(info, encoded))
    })
  }

  /** A row that was written, as the caller may see it. */
  private shown(info: TableInfo, { sql, value }: EncodedRow): any {
    return this.guard?.hidesFields(info, sql) === true ? this.guard.show(info, sql) : value
  }

  private encode(info: TableInfo, row: Fields, fiber: Fiber.Fiber<any, any>): EncodedRow {
    const value = validate(info, info.table.model, row, fiber)
    const sql = encode(info, value)
    checkRow(sql)
    return { value, sql }
  }

  /** Inserts rows as SQLite stores them, all or none. */
  insertStored(info: TableInfo, rows: ReadonlyArray<RowCodec.SqlRow>): void {
    if (rows.length === 0) return
    const { storage } = this
    storage.countWritten(rows.length)
    storage.bufferOpenCursors()
    for (const row of rows) storage.invalidateRow(info, row[info.keyPosition]!)
    if (rows.length === 1)
      this.write(info.insert, rows[0]!, (message) => this.violationOf(message, { info, rows, operation: "insert" }))
    else {
      const perStatement = Math.max(1, Math.floor(Limits.sqlite.boundParameters / info.codec.columns.length))
      const statements: Array<Statement & { readonly violationOf: ViolationOf }> = []
      for (let i = 0; i < rows.length; i += perStatement) {
        const batch = rows.slice(i, i + perStatement)
        const sql = `${info.insert}${`, ${info.placeholders}`.repeat(batch.length - 1)}`
        statements.push({
          sql,
          params: batch.flat(),
          violationOf: (message) => this.violationOf(message, { info, rows: batch, operation: "insert" })
        })
      }
      this.runAtomically(statements)
    }
    for (const row of rows) storage.recordChange(info, undefined, row)
  }

  /** Runs the statements of one operation: when a later one fails, the earlier ones are rolled back. */
  private runAtomically(statements: ReadonlyArray<Statement & { readonly violationOf: ViolationOf }>): void {
    const run = () => {
      for (const { params, sql, violationOf } of statements) this.write(sql, params, violationOf)
    }
    if (statements.length > 1) this.storage.runtime.database.transaction(run)
    else run()
  }

  /** Writes the columns of a row that changed. */
  updateStored(info: TableInfo, old: RowCodec.SqlRow, { sql: next, value }: EncodedRow): void {
    const changed: Array<number> = []
    for (let i = 0; i < next.length; i++) {
      if (compareValues(old[i]!, next[i]!) !== 0) changed.push(i)
    }
    if (changed.length === 0) return
    const { storage } = this
    const key = old[info.keyPosition]!
    storage.countWritten(1)
    storage.bufferOpenCursors()
    storage.invalidateRow(info, key)
    this.write(info.update(changed), [...changed.map((i) => next[i]!), key], (message) =>
      this.violationOf(message, { info, rows: [next], operation: "update" })
    )
    storage.recordChange(info, old, next)
    storage.cacheWritten(info, next, value)
  }

  private write(sql: string, params: ReadonlyArray<SqlValue>, violationOf: ViolationOf): void {
    const { storage } = this
    const sideWrites = storage.runtime.sideWrites(sql, params.length)
    storage.checkRecorded(sideWrites)
    storage.run(sql, params, violationOf)
    storage.recordTables(sideWrites)
  }

  /** The constraint that these rows violated, from SQLite's message. */
  private violationOf(message: string, { info, operation, rows }: WrittenRows): StorageError | undefined {
    const { indexes, key, name: table, references } = info.table
    if (message.includes("UNIQUE constraint failed: ")) {
      const unique = [{ name: key, columns: [key] }, ...[...indexes.values()].filter((index) => index.unique)]
      const columnsOf = (index: (typeof unique)[number]) => index.columns.map((name) => `${table}.${name}`).join(", ")
      // One list of columns can be a prefix of another: the longest match is the violated index.
      const failed = unique
        .filter((index) => message.includes(`failed: ${columnsOf(index)}`))
        .toSorted((a, b) => columnsOf(b).length - columnsOf(a).length)[0]
      this.guard?.checkConflict(info, rows, failed?.columns ?? [key], operation)
      return failure(new UniqueViolation({ table, index: failed?.name ?? key }))
    }
    if (!message.includes(foreignKeyFailed)) return undefined
    const { runtime } = this.storage
    for (const [column, reference] of references) {
      const target = runtime.table(reference.table())
      // While the statement ran, its own rows existed as well, and could refer to each other.
      const written = new Set(target === info ? rows.map((row) => rowId(info, row[info.keyPosition]!)) : [])
      for (const row of rows) {
        const value = row[info.codec.columnIndex.get(column)!]!
        if (value === null || written.has(rowId(target, value))) continue
        const found = runtime.database.all(`SELECT 1 FROM ${target.name} WHERE ${target.keyName} = ?`, [value])
        if (found.rows.length === 0) return failure(new ReferenceViolation({ table, column, action: "missing" }))
      }
    }
    return undefined
  }
}

/** An operation that uses its fiber: the clock, random numbers and the services of constructor defaults. */
const operation = <A>(body: (fiber: Fiber.Fiber<any, any>) => A): Effect.Effect<A, StorageError> =>
  Effect.withFiber((fiber) => attempt(() => body(fiber)))

/** Runs a body whose errors describe a row. If the caller may not read all of it, they do not. */
const describedFor = <A>(guard: PolicyGuard | undefined, info: TableInfo, row: RowCodec.SqlRow, body: () => A): A => {
  if (guard === undefined) return body()
  try {
    return body()
  } catch (error) {
    const isAboutRow = error instanceof StorageError && /^Row(?:Invalid|Unreadable)$/.test(error.reason._tag)
    if (isAboutRow && guard.hidesFields(info, row)) throw invalid(info, "a field does not fit")
    throw error
  }
}

/** Makes a value with a schema's constructor. Throws `RowInvalid` when the input does not fit. */
const validate = (info: TableInfo, schema: Schema.Top, value: unknown, fiber: Fiber.Fiber<any, any>): any => {
  const made = untyped(schema).makeEffect(value)
  // A default can be an effect. It runs in the transaction, so it must be synchronous.
  const exit = runSyncOrDie(made, fiber.context)
  if (Exit.isSuccess(exit)) return exit.value
  throw Option.match(Cause.findErrorOption(exit.cause), {
    onNone: () => Cause.squash(exit.cause),
    onSome: (issue) => invalid(info, RowCodec.formatIssue(issue))
  })
}

/** The properties of an object with these names. */
const pick = (names: ReadonlySet<string>, value: any): Fields => {
  const picked: Fields = {}
  for (const name in value) if (names.has(name)) picked[name] = value[name]
  return picked
}
