import type { Plan } from "../../contract/TableQuery.ts"
import type { SqlValue } from "../Database.ts"
import type { Key, Position } from "./KeyOrder.ts"
import { compareKeys, comparePositions, Range } from "./KeyOrder.ts"
import type * as RowCodec from "./RowCodec.ts"
import { fieldValue, keyIndex, quote, type TableInfo } from "./TableInfo.ts"

/**
 * A plan turned into SQL, and into the range of the index that the SQL reads. The two must say the same: a row outside
 * of the range that the SQL would give is a change that nobody hears of.
 */
export interface Scan {
  readonly info: TableInfo
  readonly index: string
  /** Positions of the index's columns, the key last. */
  readonly order: ReadonlyArray<number>
  readonly descending: boolean
  /** What is read of the index when the scan goes on to its end. */
  readonly range: Range
  readonly conditions: ReadonlyArray<string>
  readonly params: ReadonlyArray<SqlValue>
  /** The columns by which rows differ in place, as `ORDER BY` names them. */
  readonly orderBy: string
}

export interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
}

/**
 * The rows beyond `after` and not beyond `until`. Throws a `StorageError` when a value does not fit its column, and an
 * `Error` when the plan does not fit the index.
 */
export const make = (info: TableInfo, plan: Plan<any>, after: Key | undefined, until?: Key): Scan => {
  const index = plan.index ?? keyIndex
  const order = orderOf(info, plan)
  const columns = order.map((position) => info.codec.columns[position]!)
  const columnAt = (place: number, name: string) => {
    const column = columns[place]
    if (column?.name === name) return column
    throw new Error(`column ${name} is not the next column of index ${index} of table ${info.table.name}`)
  }
  const conditions: Array<string> = []
  const params: Array<SqlValue> = []

  const prefix: Array<SqlValue> = []
  for (const [name, value] of plan.equal) {
    const encoded = fieldValue(info, columnAt(prefix.length, name), value)
    conditions.push(`${quote(name)} ${encoded === null ? "IS" : "="} ?`)
    params.push(encoded)
    prefix.push(encoded)
  }

  let from: Position = { key: prefix, after: false }
  let to: Position = { key: prefix, after: true }
  let nothing = false
  for (const [bound, sign] of [
    [plan.lower, ">"],
    [plan.upper, "<"]
  ] as const) {
    if (bound === undefined) continue
    const column = columnAt(prefix.length, bound.column)
    const value = fieldValue(info, column, bound.value)
    const key = [...prefix, value]
    conditions.push(`${quote(column.name)} ${sign}${bound.inclusive ? "=" : ""} ?`)
    params.push(value)
    if (sign === ">") from = { key, after: !bound.inclusive }
    else to = { key, after: bound.inclusive }
    // SQL compares nothing with NULL: no row is beyond it, and rows that have it, first in the order, are below nothing.
    if (value === null) nothing = true
    else if (plan.lower === undefined) from = { key: [...prefix, null], after: true }
  }

  const rest = columns.slice(prefix.length)
  if (after !== undefined) {
    const place: Position = { key: after, after: !plan.descending }
    if (plan.descending) to = comparePositions(place, to) < 0 ? place : to
    else from = comparePositions(place, from) > 0 ? place : from
    // A place before all rows of the prefix leaves them all; one after them leaves none, and the range is empty.
    if (compareKeys(after.slice(0, prefix.length), prefix) === 0) {
      const [condition, values] = beyond(rest, after.slice(prefix.length), plan.descending)
      conditions.push(condition)
      params.push(...values)
    }
  }
  if (until !== undefined) {
    const place: Position = { key: until, after: !plan.descending }
    if (plan.descending) from = comparePositions(place, from) > 0 ? place : from
    else to = comparePositions(place, to) < 0 ? place : to
    if (compareKeys(until.slice(0, prefix.length), prefix) === 0) {
      const [condition, values] = upTo(rest, until.slice(prefix.length), plan.descending)
      conditions.push(condition)
      params.push(...values)
    }
  }
  return {
    info,
    index,
    order,
    descending: plan.descending,
    range: nothing ? { from, to: from } : { from, to },
    conditions,
    params,
    orderBy: rest.map((column) => `${quote(column.name)}${plan.descending ? " DESC" : ""}`).join(", ")
  }
}

/** The columns of a plan's order, by position. */
export const orderOf = (info: TableInfo, plan: Plan<any>): ReadonlyArray<number> => {
  const order = info.orders.get(plan.index ?? keyIndex)
  if (order === undefined) throw new Error(`table ${info.table.name} has no index ${plan.index}`)
  return order
}

/** Whether no row can be found. Such a scan has no SQL: its conditions need not exclude every row. */
export const isEmpty = (scan: Scan): boolean => Range.isEmpty(scan.range)

/** The rows, in order. */
export const rows = (scan: Scan, most?: number): Statement => select(scan, scan.info.columns, scan.orderBy, most)

/** The keys of the rows in the scan's index, in order. */
export const keys = (scan: Scan, most: number): Statement => {
  const columns = scan.order.map((position) => quote(scan.info.codec.columns[position]!.name))
  return select(scan, columns.join(", "), scan.orderBy, most)
}

/** The number of rows, `most` at most. */
export const count = (scan: Scan, most: number): Statement => {
  const { params, sql } = select(scan, "1", "", most)
  return { sql: `SELECT count(*) FROM (${sql})`, params }
}

const select = (scan: Scan, columns: string, orderBy: string, most: number | undefined): Statement => ({
  sql:
    `SELECT ${columns} FROM ${scan.info.name}` +
    (scan.conditions.length > 0 ? ` WHERE ${scan.conditions.join(" AND ")}` : "") +
    (orderBy === "" ? "" : ` ORDER BY ${orderBy}`) +
    (most === undefined ? "" : " LIMIT ?"),
  params: most === undefined ? scan.params : [...scan.params, most]
})

/** The part of the range that was read when the row with the key `last` was the last one given. */
export const scannedRange = ({ descending, range }: Scan, last: Key | undefined): Range => {
  if (last === undefined) return { from: range.from, to: range.from }
  return descending
    ? { from: { key: last, after: false }, to: range.to }
    : { from: range.from, to: { key: last, after: true } }
}

type Condition = readonly [sql: string, params: ReadonlyArray<SqlValue>]

/** The condition for rows beyond a place in the order of these columns. */
const beyond = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
  if (columns.every((column) => column.notNull)) return compared(columns, values, descending ? "<" : ">")
  const [past, params] = beyondWithNull(columns, values, descending)
  const [first, value] = [quote(columns[0]!.name), values[0]!]
  // Says nothing new, but lets SQLite begin at the place instead of the start.
  return descending || value === null ? [past, params] : [`${first} >= ? AND ${past}`, [value, ...params]]
}

/** The condition for all other rows. */
const upTo = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
  if (columns.every((column) => column.notNull)) return compared(columns, values, descending ? ">=" : "<=")
  const [past, params] = beyondWithNull(columns, values, descending)
  const [first, value] = [quote(columns[0]!.name), values[0]!]
  return !descending || value === null
    ? [`${past} IS NOT TRUE`, params]
    : [`${first} >= ? AND ${past} IS NOT TRUE`, [value, ...params]]
}

const compared = (columns: ReadonlyArray<RowCodec.Column>, values: Key, sign: string): Condition => {
  const names = columns.map((column) => quote(column.name)).join(", ")
  return [`(${names}) ${sign} (${values.map(() => "?").join(", ")})`, values]
}

/** NULL is first in the order, and SQL's comparisons do not know it. */
const beyondWithNull = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
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
