/**
 * What is derived once from a table's declaration: its codec, the texts of its statements, the positions of its indexes.
 * Every operation on the table starts from here.
 */
import * as Result from "effect/Result"
import { RowInvalid, RowUnreadable, StorageError, type StorageErrorReason } from "../../contract/Storage.ts"
import * as Table from "../../contract/Table.ts"
import type { SqlValue } from "../Database.ts"
import type { Key } from "./KeyOrder.ts"
import { RowCache } from "./RowCache.ts"
import * as RowCodec from "./RowCodec.ts"

/** The name under which reads and writes by key are recorded. No declared index can have it. */
export const keyIndex = ""

/** A table's codec, its statements and what else is the same for every operation. */
export interface TableInfo {
  readonly table: Table.Any
  readonly codec: RowCodec.RowCodec
  readonly name: string
  readonly columns: string
  /** Marks for the values of one row. */
  readonly marks: string
  /** The statement that inserts one row. */
  readonly insert: string
  /** The statement that reads the row with a key. */
  readonly selectByKey: string
  /** The statement that updates the columns at these positions of the row with a key. */
  readonly update: (changed: ReadonlyArray<number>) => string
  readonly keyName: string
  readonly keyPosition: number
  /** Positions of the columns of each index in order, the key last. */
  readonly orders: ReadonlyMap<string, ReadonlyArray<number>>
  /** The columns of other tables that refer to this one. */
  readonly referrers: ReadonlyArray<Referrer>
  /** The columns that the table fills in itself. */
  readonly generated: ReadonlyArray<RowCodec.Column>
  /** What a generated key looks like to the model: a UUID, decoded by the key's schema. */
  readonly toKey: (uuid: string) => unknown
  /** Decoded rows, for tables whose rows can be shared. */
  readonly decoded: RowCache | undefined
  /** The fields that a patch may change. */
  readonly updatable: ReadonlySet<string>
  /** Whether the model's `update` variant checks something that the row itself does not. */
  readonly checksUpdates: boolean
  /** The fields that an insert may give. */
  readonly insertable: ReadonlySet<string>
  /** Whether the model's `insert` variant checks nothing that the row itself does not: then the row is checked once. */
  readonly insertIsPlain: boolean
}

export interface Referrer {
  readonly info: TableInfo
  readonly column: string
  readonly action: NonNullable<Table.Reference["onDelete"]>
}

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** The tables of an app, by name. */
export const makeAll = (declared: ReadonlyArray<Table.Any>): ReadonlyMap<string, TableInfo> => {
  const referrers = new Map<string, Array<Referrer>>(declared.map((table) => [table.name, []]))
  const tables = new Map(declared.map((table) => [table.name, make(table, referrers.get(table.name)!)]))
  for (const info of tables.values()) {
    for (const [column, reference] of info.table.references) {
      referrers.get(reference.table().name)?.push({ info, column, action: reference.onDelete ?? "restrict" })
    }
  }
  return tables
}

const make = (table: Table.Any, referrers: ReadonlyArray<Referrer>): TableInfo => {
  const codec = RowCodec.make(table)
  const position = (column: string) => codec.columnIndex.get(column)!
  const keyPosition = position(table.key)
  const orders = new Map<string, ReadonlyArray<number>>([[keyIndex, [keyPosition]]])
  for (const index of table.indexes.values()) {
    const positions = index.columns.map(position)
    orders.set(index.name, positions.includes(keyPosition) ? positions : [...positions, keyPosition])
  }
  const { fields } = table.model
  const insertFields = Table.fieldsOf(table.model.insert)
  const updateFields = Table.fieldsOf(table.model.update)
  const generated = codec.columns.filter((column) => column.generated !== undefined)
  const isGenerated = (name: string) => generated.some((column) => column.name === name)
  const updates = new Map<string, string>()
  const name = quote(table.name)
  const columns = codec.columns.map((column) => quote(column.name)).join(", ")
  const marks = `(${codec.columns.map(() => "?").join(", ")})`
  return {
    table,
    codec,
    name,
    columns,
    marks,
    insert: `INSERT INTO ${name} (${columns}) VALUES ${marks}`,
    selectByKey: `SELECT ${columns} FROM ${name} WHERE ${quote(table.key)} = ?`,
    update: (changed) => {
      const key = changed.join()
      let sql = updates.get(key)
      if (sql === undefined) {
        const sets = changed.map((i) => `${quote(codec.columns[i]!.name)} = ?`).join(", ")
        sql = `UPDATE ${name} SET ${sets} WHERE ${quote(table.key)} = ?`
        // Tables of many columns have more combinations than are worth keeping.
        if (updates.size < mostUpdates) updates.set(key, sql)
      }
      return sql
    },
    keyName: quote(table.key),
    keyPosition,
    orders,
    referrers,
    generated,
    decoded: codec.isPlain ? new RowCache() : undefined,
    toKey: codec.key.schema.ast.encoding === undefined ? (uuid) => uuid : RowCodec.decoderOf(codec.key.schema),
    updatable: new Set(Object.keys(updateFields).filter((name) => name !== table.key)),
    checksUpdates: Object.entries(updateFields).some(([name, field]) => fields[name] !== field),
    insertable: new Set(Object.keys(insertFields)),
    insertIsPlain:
      table.model.insert.ast.checks === undefined &&
      Object.keys(fields).every((name) => isGenerated(name) || insertFields[name] === fields[name])
  }
}

/** Texts of update statements that are kept for one table. */
const mostUpdates = 100

export const failure = (reason: StorageErrorReason): StorageError => new StorageError({ reason })

export const invalid = (info: TableInfo, issue: string): StorageError =>
  failure(new RowInvalid({ table: info.table.name, issue }))

/** A field's value as SQLite keeps it. Throws a `StorageError`, as do those below. */
export const fieldValue = (info: TableInfo, column: RowCodec.Column, value: unknown): SqlValue =>
  Result.getOrThrowWith(info.codec.encodeField(column, value), (issue) => invalid(info, issue))

export const encode = (info: TableInfo, row: Record<string, unknown>): RowCodec.SqlRow =>
  Result.getOrThrowWith(info.codec.encode(row), (issue) => invalid(info, issue))

export const decode = (info: TableInfo, row: RowCodec.SqlRow): any => {
  const known = info.decoded?.find(row[info.keyPosition]!, row)
  if (known !== undefined) return known
  const value = Result.getOrThrowWith(info.codec.decode(row), (issue) =>
    failure(new RowUnreadable({ table: info.table.name, issue }))
  )
  info.decoded?.keep(row[info.keyPosition]!, row, value)
  return value
}

/** The key of a row in an order. */
export const keyOf = (order: ReadonlyArray<number>, row: RowCodec.SqlRow): Key =>
  order.map((position) => row[position]!)

/** A text that is the same for the same row only: for keys of maps. */
export const identity = (info: TableInfo, key: SqlValue): string => {
  const text = key instanceof Uint8Array ? key.join() : String(key)
  return JSON.stringify([info.table.name, typeof key, text])
}
