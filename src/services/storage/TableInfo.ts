/**
 * What is derived once from a table's declaration: its codec, its SQL statements, the column positions of its indexes.
 * All operations on the table use it.
 */
import * as Result from "effect/Result"
import { RowInvalid, RowUnreadable, StorageError, type StorageErrorReason } from "../../contract/Storage.ts"
import * as Table from "../../contract/Table.ts"
import type { SqlValue } from "../Database.ts"
import type { Key } from "./KeyOrder.ts"
import { RowCache } from "./RowCache.ts"
import * as RowCodec from "./RowCodec.ts"

/** The index name for reads and writes by key. Declared indexes have a non-empty name. */
export const keyIndex = ""

/** A table with its codec, its statements and its indexes. */
export interface TableInfo {
  readonly table: Table.Any
  readonly codec: RowCodec.RowCodec
  /** The quoted name. */
  readonly name: string
  /** The quoted names of all columns. */
  readonly columns: string
  /** The parameters of one row: `(?, ?)`. */
  readonly placeholders: string
  /** The statement that inserts one row. */
  readonly insert: string
  /** The statement that selects the row with a key. */
  readonly selectByKey: string
  /** The statement that updates the columns at these positions in the row with a key. */
  readonly update: (changed: ReadonlyArray<number>) => string
  /** The quoted name of the key's column. */
  readonly keyName: string
  readonly keyPosition: number
  /** The column positions of each index, by its name, the key last. */
  readonly orders: ReadonlyMap<string, ReadonlyArray<number>>
  /** The columns of other tables that refer to this one. */
  readonly referrers: ReadonlyArray<Referrer>
  /** The columns whose values the table generates. */
  readonly generated: ReadonlyArray<RowCodec.Column>
  /** Decodes a generated UUID with the key's schema. */
  readonly toKey: (uuid: string) => unknown
  /** The known rows. Add to it and drop from it through `TransactionStorage`. */
  readonly rowCache: RowCache
  /** The fields that a patch can change. */
  readonly updatable: ReadonlySet<string>
  /** Whether the model's `update` variant checks more than the row's own schema. */
  readonly checksUpdates: boolean
  /** The fields that an insert can give. */
  readonly insertable: ReadonlySet<string>
  /** Whether the model's `insert` variant checks no more than the row's own schema: then only the row is checked. */
  readonly insertIsPlain: boolean
}

/** A column of another table, or of the same, that refers to a table. */
export interface Referrer {
  readonly info: TableInfo
  readonly column: string
  readonly action: NonNullable<Table.Reference["onDelete"]>
}

/** Quotes a name for SQL. */
export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** The name of an index in the database. */
export const indexName = (table: string, index: string): string => `${table}.${index}`

/** The infos of an app's tables. Each is made when it is first used: a start uses few of them. */
export class TableInfos {
  private readonly declared: ReadonlyMap<string, Table.Any>
  private readonly made = new Map<string, TableInfo>()
  private references: ReadonlyMap<string, ReadonlyArray<readonly [table: Table.Any, column: string]>> | undefined

  constructor(declared: ReadonlyArray<Table.Any>) {
    this.declared = new Map(declared.map((table) => [table.name, table]))
  }

  /** Whether the app has a table of this name. */
  has(name: string): boolean {
    return this.declared.has(name)
  }

  /** The info of a table, if the app has it. */
  get(name: string): TableInfo | undefined {
    let info = this.made.get(name)
    if (info !== undefined) return info
    const table = this.declared.get(name)
    if (table === undefined) return undefined
    info = make(table, () => this.referrersOf(name))
    this.made.set(name, info)
    return info
  }

  /** The infos that were made so far. */
  used(): Iterable<TableInfo> {
    return this.made.values()
  }

  private referrersOf(name: string): ReadonlyArray<Referrer> {
    this.references ??= this.allReferences()
    return (this.references.get(name) ?? []).map(([table, column]) => ({
      info: this.get(table.name)!,
      column,
      action: table.references.get(column)!.onDelete ?? "restrict"
    }))
  }

  private allReferences() {
    const found = new Map<string, Array<readonly [Table.Any, string]>>()
    for (const table of this.declared.values()) {
      for (const [column, reference] of table.references) {
        const { name } = reference.table()
        const known = found.get(name)
        if (known === undefined) found.set(name, [[table, column]])
        else known.push([table, column])
      }
    }
    return found
  }
}

const make = (table: Table.Any, referrersOf: () => ReadonlyArray<Referrer>): TableInfo => {
  let referrers: ReadonlyArray<Referrer> | undefined
  const codec = RowCodec.of(table)
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
  const placeholders = `(${codec.columns.map(() => "?").join(", ")})`
  return {
    table,
    codec,
    name,
    columns,
    placeholders,
    insert: `INSERT INTO ${name} (${columns}) VALUES ${placeholders}`,
    selectByKey: `SELECT ${columns} FROM ${name} WHERE ${quote(table.key)} = ?`,
    update: (changed) => {
      const key = changed.join()
      let sql = updates.get(key)
      if (sql === undefined) {
        const sets = changed.map((i) => `${quote(codec.columns[i]!.name)} = ?`).join(", ")
        sql = `UPDATE ${name} SET ${sets} WHERE ${quote(table.key)} = ?`
        // A table with many columns has too many combinations to cache all.
        if (updates.size < maxUpdateStatements) updates.set(key, sql)
      }
      return sql
    },
    keyName: quote(table.key),
    keyPosition,
    orders,
    // Tables may refer to each other, so these are found only when they are needed.
    get referrers() {
      referrers ??= referrersOf()
      return referrers
    },
    generated,
    rowCache: new RowCache(codec.isPlain),
    toKey: codec.key.schema.ast.encoding === undefined ? (uuid) => uuid : RowCodec.decoderOf(codec.key.schema),
    updatable: new Set(Object.keys(updateFields).filter((name) => name !== table.key)),
    checksUpdates: Object.entries(updateFields).some(([name, field]) => fields[name] !== field),
    insertable: new Set(Object.keys(insertFields)),
    insertIsPlain:
      table.model.insert.ast.checks === undefined &&
      Object.keys(fields).every((name) => isGenerated(name) || insertFields[name] === fields[name])
  }
}

/** Update statements that are cached for one table. */
const maxUpdateStatements = 100

/** The error with a reason. */
export const failure = (reason: StorageErrorReason): StorageError => new StorageError({ reason })

/** The error for a row that does not fit the table's schema. */
export const invalid = (info: TableInfo, issue: string): StorageError =>
  failure(new RowInvalid({ table: info.table.name, issue }))

/** Encodes the value of a field. Throws a `StorageError`, as the next two functions do. */
export const fieldValue = (info: TableInfo, column: RowCodec.Column, value: unknown): SqlValue =>
  Result.getOrThrowWith(info.codec.encodeField(column, value), (issue) => invalid(info, issue))

/** Encodes a row. */
export const encode = (info: TableInfo, row: Record<string, unknown>): RowCodec.SqlRow =>
  Result.getOrThrowWith(info.codec.encode(row), (issue) => invalid(info, issue))

/** Decodes a row, or finds its value in the cache. */
export const decode = (info: TableInfo, row: RowCodec.SqlRow): any => {
  const key = row[info.keyPosition]!
  const cached = info.rowCache.value(key, row)
  if (cached !== undefined) return cached
  const value = Result.getOrThrowWith(info.codec.decode(row), (issue) =>
    failure(new RowUnreadable({ table: info.table.name, issue }))
  )
  info.rowCache.setValue(key, row, value)
  return value
}

/** The key of a row in an index, from the column positions of the index. */
export const keyOf = (order: ReadonlyArray<number>, row: RowCodec.SqlRow): Key =>
  order.map((position) => row[position]!)

/** A text that identifies a row among all tables, for maps and sets. */
export const rowId = (info: TableInfo, key: SqlValue): string => {
  const text = key instanceof Uint8Array ? key.join() : String(key)
  return JSON.stringify([info.table.name, typeof key, text])
}
