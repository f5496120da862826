/**
 * Turns the plan of a query into the range of an index that it reads, and the range into SQL.
 * Both agree: if the SQL returned a row outside of the range, a write of that row would not invalidate the query.
 */
import type { Plan } from "../../contract/TablePlan.ts"
import type { SqlValue } from "../Database.ts"
import type { Key, Position } from "./KeyOrder.ts"
import { comparePositions, compareValues, Range } from "./KeyOrder.ts"
import type { SqlCondition } from "./PolicySql.ts"
import type * as RowCodec from "./RowCodec.ts"
import { fieldValue, indexName, keyIndex, quote, type TableInfo } from "./TableInfo.ts"

/** A plan as a range of an index, and as the seeks that read it. */
export interface Scan {
  readonly info: TableInfo
  /** The name of the index; `keyIndex` for the key. */
  readonly index: string
  /** The positions of the index's columns, the key last. */
  readonly order: ReadonlyArray<number>
  readonly descending: boolean
  /** The range of the index that a complete scan reads. */
  readonly range: Range
  /** Consecutive parts of the range, in the order of the scan. Together they are the range. */
  readonly seeks: ReadonlyArray<Seek>
  /** The values that the plan fixes: those of the first columns of the order. */
  readonly equal: Key
  /** What rows of the range must fulfill besides. The seeks contain it. */
  readonly where?: SqlCondition
}

/** One part of an index that SQLite finds by its ends, and reads without any row before or after them. */
export interface Seek {
  /** The SQL conditions, to be joined with AND. */
  readonly conditions: ReadonlyArray<string>
  readonly params: ReadonlyArray<SqlValue>
  /** The `ORDER BY` list: the columns that have no fixed value. */
  readonly orderBy: string
}

/** A statement and its parameters. */
export interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
}

/**
 * The scan of a plan: its rows after the key `after`, up to and including the key `until`. Throws a `StorageError` if a
 * value does not fit its column, and an `Error` if the plan does not fit its index.
 */
export const make = (info: TableInfo, plan: Plan<any>, after: Key | undefined, until?: Key): Scan => {
  const index = plan.index ?? keyIndex
  const order = orderOf(info, plan)
  const columns = order.map((position) => info.codec.columns[position]!)
  const columnAt = (position: number, name: string) => {
    const column = columns[position]
    if (column?.name === name) return column
    throw new Error(`column ${name} is not the next column of index ${index} of table ${info.table.name}`)
  }
  const prefix: Array<SqlValue> = []
  for (const [name, value] of plan.equal) {
    prefix.push(fieldValue(info, columnAt(prefix.length, name), value))
  }

  let from: Position = { key: prefix, after: false }
  let to: Position = { key: prefix, after: true }
  let matchesNothing = false
  for (const [bound, sign] of [
    [plan.lower, ">"],
    [plan.upper, "<"]
  ] as const) {
    if (bound === undefined) continue
    const value = fieldValue(info, columnAt(prefix.length, bound.column), bound.value)
    const key = [...prefix, value]
    if (sign === ">") from = { key, after: !bound.inclusive }
    else to = { key, after: bound.inclusive }
    // As in SQL, a bound that is null matches no row, and rows with null are below no bound.
    if (value === null) matchesNothing = true
    else if (plan.lower === undefined) from = { key: [...prefix, null], after: true }
  }

  if (after !== undefined) {
    const position: Position = { key: after, after: !plan.descending }
    if (plan.descending) to = comparePositions(position, to) < 0 ? position : to
    else from = comparePositions(position, from) > 0 ? position : from
  }
  if (until !== undefined) {
    const position: Position = { key: until, after: !plan.descending }
    if (plan.descending) from = comparePositions(position, from) > 0 ? position : from
    else to = comparePositions(position, to) < 0 ? position : to
  }
  const range = matchesNothing ? { from, to: from } : { from, to }
  const seeks = Range.isEmpty(range)
    ? []
    : partsOf(columns, range).map((part) => seekOf(columns, part, plan.descending))
  const { descending } = plan
  return { info, index, order, descending, range, seeks: descending ? seeks.reverse() : seeks, equal: prefix }
}

/** The rows of a scan for which a condition holds. The range stays the same: all its rows are read. */
export const restricted = (scan: Scan, where: SqlCondition): Scan => ({
  ...scan,
  where,
  seeks: scan.seeks.map(({ conditions, orderBy, params }) => ({
    conditions: [...conditions, where.sql],
    params: [...params, ...where.params],
    orderBy
  }))
})

/** The positions of the columns of a plan's order. */
export const orderOf = (info: TableInfo, plan: Plan<any>): ReadonlyArray<number> => {
  const order = info.orders.get(plan.index ?? keyIndex)
  if (order === undefined) throw new Error(`table ${info.table.name} has no index ${plan.index}`)
  return order
}

/** The statement for the rows of a seek, in order. */
export const rows = (scan: Scan, seek: Seek, max?: number): Statement =>
  select(scan, seek, scan.info.columns, seek.orderBy, max)

/** The statement for the keys of the rows in the scan's index, in order. */
export const keys = (scan: Scan, seek: Seek, max: number): Statement => {
  const columns = scan.order.map((position) => quote(scan.info.codec.columns[position]!.name))
  return select(scan, seek, columns.join(", "), seek.orderBy, max)
}

/** The statement for the keys of the rows as one JSON array, in order. Not for keys that are bytes. */
export const keysAsJson = (scan: Scan, seek: Seek, max: number): Statement => {
  const { params, sql } = select(scan, seek, scan.info.keyName, seek.orderBy, max)
  return { sql: `SELECT json_group_array(${scan.info.keyName}) FROM (${sql})`, params }
}

/** The statement for the number of rows, counted up to `max`. */
export const count = (scan: Scan, seek: Seek, max: number): Statement => {
  const { params, sql } = select(scan, seek, "1", "", max)
  return { sql: `SELECT count(*) FROM (${sql})`, params }
}

const select = (
  { index, info }: Scan,
  { conditions, params }: Seek,
  columns: string,
  orderBy: string,
  max: number | undefined
): Statement => ({
  sql:
    `SELECT ${columns} FROM ${info.name}` +
    // Without it SQLite may take any index that begins with the same columns, read more rows and sort them.
    (index === keyIndex ? "" : ` INDEXED BY ${quote(indexName(info.table.name, index))}`) +
    (conditions.length > 0 ? ` WHERE ${conditions.join(" AND ")}` : "") +
    (orderBy === "" ? "" : ` ORDER BY ${orderBy}`) +
    (max === undefined ? "" : " LIMIT ?"),
  params: max === undefined ? params : [...params, max]
})

/** The part of the range that was read if the scan stopped after the row with the key `last`. */
export const scannedRange = ({ descending, range }: Scan, last: Key | undefined): Range => {
  if (last === undefined) return { from: range.from, to: range.from }
  return descending
    ? { from: { key: last, after: false }, to: range.to }
    : { from: range.from, to: { key: last, after: true } }
}

/** Rows whose first columns have fixed values, and whose next columns are between two bounds. */
interface Part {
  readonly equal: Key
  readonly lower?: Limit | undefined
  readonly upper?: Limit | undefined
}

/** One end of a part. None of its values is null. */
interface Limit {
  readonly key: Key
  readonly inclusive: boolean
}

/**
 * Divides a range into parts that SQL can compare, in ascending order. SQL compares nothing with NULL, which an index
 * sorts first: rows with NULL in a column are a part of their own, unless the column has other bounds.
 */
const partsOf = (columns: ReadonlyArray<RowCodec.Column>, { from, to }: Range): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  let shared = 0
  while (shared < from.key.length && shared < to.key.length && isSame(from.key[shared]!, to.key[shared]!)) shared++

  // From the last null of the lower end to the first: the rows that share the key up to it, and all that follow them.
  let lower: Limit = { key: from.key, inclusive: !from.after }
  for (let i = from.key.length - 1; i >= shared; i--) {
    if (from.key[i] !== null) continue
    const rest: Limit = { key: lower.key.slice(i + 1), inclusive: lower.inclusive }
    if (rest.key.length > 0) parts.push({ equal: from.key.slice(0, i + 1), lower: rest })
    else if (rest.inclusive) parts.push({ equal: from.key.slice(0, i + 1) })
    lower = { key: [...from.key.slice(0, i), leastOf(columns[i]!)], inclusive: true }
  }

  let bound = from.key.length > shared ? { key: lower.key.slice(shared), inclusive: lower.inclusive } : undefined
  let start = shared
  while (start < to.key.length) {
    const equal = to.key.slice(0, start)
    if (to.key[start] === null) {
      start++
      continue
    }
    if (!columns[start]!.notNull && bound === undefined) parts.push({ equal: [...equal, null] })
    // The rest of the key is compared at once, if none of its columns has NULL. SQLite reads the rows that are equal to
    // such a bound even where `<` excludes them: to the whole key that is one row, to a part of it any number.
    const isLast = columns.slice(start + 1, to.key.length).every((column) => column.notNull)
    const end = isLast ? to.key.length : start + 1
    parts.push({ equal, lower: bound, upper: { key: to.key.slice(start, end), inclusive: isLast && to.after } })
    if (isLast) return parts
    bound = undefined
    start = end
  }
  if (to.after) parts.push({ equal: to.key, lower: bound })
  return parts
}

const isSame = (a: SqlValue, b: SqlValue): boolean => compareValues(a, b) === 0

/** A value up to which a column has only NULL. */
const leastOf = (column: RowCodec.Column): SqlValue => (column.type === "TEXT" ? "" : Number.NEGATIVE_INFINITY)

const seekOf = (columns: ReadonlyArray<RowCodec.Column>, { equal, lower, upper }: Part, descending: boolean): Seek => {
  const names = columns.map((column) => quote(column.name))
  const conditions = equal.map((value, i) => `${names[i]} ${value === null ? "IS NULL" : "= ?"}`)
  const params: Array<SqlValue> = equal.filter((value) => value !== null)
  for (const [limit, sign] of [
    [lower, ">"],
    [upper, "<"]
  ] as const) {
    if (limit === undefined) continue
    const compared = names.slice(equal.length, equal.length + limit.key.length)
    conditions.push(`${tuple(compared)} ${sign}${limit.inclusive ? "=" : ""} ${tuple(compared.map(() => "?"))}`)
    params.push(...limit.key)
  }
  const orderBy = names.slice(equal.length).map((name) => (descending ? `${name} DESC` : name))
  return { conditions, params, orderBy: orderBy.join(", ") }
}

const tuple = (items: ReadonlyArray<string>): string => (items.length === 1 ? items[0]! : `(${items.join(", ")})`)
