import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { RowInvalid, RowUnreadable, StorageError, type StorageErrorReason } from "../contract/Storage.ts"
import type * as Table from "../contract/Table.ts"
import type { SqlValue } from "./Database.ts"
import { DecodedRows } from "./DecodedRows.ts"
import type { Key } from "./KeyOrder.ts"
import * as RowCodec from "./RowCodec.ts"

/** The name under which reads and writes by key are recorded. No declared index can have it. */
export const primaryIndex = ""

/** A table with everything that is the same for every call. */
export interface Store {
  readonly table: Table.Any
  readonly codec: RowCodec.RowCodec
  readonly name: string
  readonly columns: string
  /** Marks for the values of one row, and the statement that inserts one. */
  readonly marks: string
  readonly insert: string
  readonly keyName: string
  readonly keyPosition: number
  /** Positions of the columns of each index in order, the key last. */
  readonly orders: ReadonlyMap<string, ReadonlyArray<number>>
  /** Who refers to this table. */
  readonly referrers: ReadonlyArray<Referrer>
  /** What a generated key looks like to the model: a UUID, decoded by the key's schema. */
  readonly toKey: (uuid: string) => unknown
  /** Rows that were decoded, for tables whose rows can be shared. */
  readonly decoded: DecodedRows | undefined
  /** The fields that a patch may change. */
  readonly updatable: ReadonlySet<string>
  /** Whether the model's `update` variant asks for something else than the row itself does. */
  readonly checksUpdates: boolean
}

export interface Referrer {
  readonly store: Store
  readonly column: string
  readonly action: NonNullable<Table.Reference["onDelete"]>
}

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** The stores of an app's tables, by name. */
export const makeAll = (tables: ReadonlyArray<Table.Any>): ReadonlyMap<string, Store> => {
  const referrers = new Map(tables.map((table) => [table.name, [] as Referrer[]]))
  const stores = new Map(tables.map((table) => [table.name, make(table, referrers.get(table.name)!)]))
  for (const store of stores.values()) {
    for (const [column, reference] of store.table.references) {
      referrers.get(reference.table().name)?.push({ store, column, action: reference.onDelete ?? "restrict" })
    }
  }
  return stores
}

const make = (table: Table.Any, referrers: ReadonlyArray<Referrer>): Store => {
  const codec = RowCodec.make(table)
  const position = (column: string) => codec.columnIndex.get(column)!
  const keyPosition = position(table.key)
  const orders = new Map<string, ReadonlyArray<number>>([[primaryIndex, [keyPosition]]])
  for (const index of table.indexes.values()) {
    const positions = index.columns.map(position)
    orders.set(index.name, positions.includes(keyPosition) ? positions : [...positions, keyPosition])
  }
  const { fields, update } = table.model as typeof table.model & {
    readonly update: { readonly fields: Schema.Struct.Fields }
  }
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
    keyName: quote(table.key),
    keyPosition,
    orders,
    referrers,
    decoded: codec.isPlain ? new DecodedRows() : undefined,
    toKey:
      codec.key.schema.ast.encoding === undefined
        ? (uuid) => uuid
        : Schema.decodeUnknownSync(codec.key.schema as unknown as Schema.Codec<unknown, unknown>),
    updatable: new Set(Object.keys(update.fields).filter((name) => name !== table.key)),
    checksUpdates: Object.entries(update.fields).some(([name, field]) => fields[name] !== field)
  }
}

export const failure = (reason: StorageErrorReason): StorageError => new StorageError({ reason })

export const invalid = (store: Store, issue: string): StorageError =>
  failure(new RowInvalid({ table: store.table.name, issue }))

/** A field's value as SQLite keeps it. Throws a `StorageError`, as do those below. */
export const fieldValue = (store: Store, column: RowCodec.Column, value: unknown): SqlValue =>
  Result.getOrThrowWith(store.codec.encodeField(column, value), (issue) => invalid(store, issue))

export const encode = (store: Store, row: object): RowCodec.SqlRow =>
  Result.getOrThrowWith(store.codec.encode(row), (issue) => invalid(store, issue))

export const decode = (store: Store, row: RowCodec.SqlRow): any => {
  const known = store.decoded?.find(row[store.keyPosition]!, row)
  if (known !== undefined) return known
  const value = Result.getOrThrowWith(store.codec.decode(row), (issue) =>
    failure(new RowUnreadable({ table: store.table.name, issue }))
  )
  store.decoded?.keep(row[store.keyPosition]!, row, value)
  return value
}

/** The key of a row in an order. */
export const keyOf = (order: ReadonlyArray<number>, row: RowCodec.SqlRow): Key =>
  order.map((position) => row[position]!)

/** A text that is the same for the same row only: for keys of maps. */
export const identity = (store: Store, key: SqlValue): string => {
  const text = key instanceof Uint8Array ? key.join() : String(key)
  return JSON.stringify([store.table.name, typeof key, text])
}
