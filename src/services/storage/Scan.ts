/**
 * Turns the plan of a query into SQL, and into the range of the index that the SQL reads.
 * Both must agree: if the SQL returned a row outside of the range, a write of that row would not invalidate the query.
 */
import type { Plan } from "../../contract/TablePlan.ts"
import type { SqlValue } from "../Database.ts"
import type { Key, Position } from "./KeyOrder.ts"
import { compareKeys, comparePositions, Range } from "./KeyOrder.ts"
import type * as RowCodec from "./RowCodec.ts"
import { fieldValue, keyIndex, quote, type TableInfo } from "./TableInfo.ts"

/** A plan as SQL conditions and as a range of an index. */
export interface Scan {
  readonly info: TableInfo
  /** The name of the index; `keyIndex` for the key. */
  readonly index: string
  /** The positions of the index's columns, the key last. */
  readonly order: ReadonlyArray<number>
  readonly descending: boolean
  /** The range of the index that a complete scan reads. */
  readonly range: Range
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
  let matchesNothing = false
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
    // A comparison with NULL is never true in SQL: a NULL bound matches no row, and rows with NULL are below no bound.
    if (value === null) matchesNothing = true
    else if (plan.lower === undefined) from = { key: [...prefix, null], after: true }
  }

  const rest = columns.slice(prefix.length)
  if (after !== undefined) {
    const position: Position = { key: after, after: !plan.descending }
    if (plan.descending) to = comparePositions(position, to) < 0 ? position : to
    else from = comparePositions(position, from) > 0 ? position : from
    // A position outside of the prefix needs no condition: the scan has all rows of the prefix, or an empty range.
    if (compareKeys(after.slice(0, prefix.length), prefix) === 0) {
      const [condition, values] = afterKey(rest, after.slice(prefix.length), plan.descending)
      conditions.push(condition)
      params.push(...values)
    }
  }
  if (until !== undefined) {
    const position: Position = { key: until, after: !plan.descending }
    if (plan.descending) from = comparePositions(position, from) > 0 ? position : from
    else to = comparePositions(position, to) < 0 ? position : to
    if (compareKeys(until.slice(0, prefix.length), prefix) === 0) {
      const [condition, values] = upToKey(rest, until.slice(prefix.length), plan.descending)
      conditions.push(condition)
      params.push(...values)
    }
  }
  return {
    info,
    index,
    order,
    descending: plan.descending,
    range: matchesNothing ? { from, to: from } : { from, to },
    conditions,
    params,
    orderBy: rest.map((column) => `${quote(column.name)}${plan.descending ? " DESC" : ""}`).join(", ")
  }
}

/** The positions of the columns of a plan's order. */
export const orderOf = (info: TableInfo, plan: Plan<any>): ReadonlyArray<number> => {
  const order = info.orders.get(plan.index ?? keyIndex)
  if (order === undefined) throw new Error(`table ${info.table.name} has no index ${plan.index}`)
  return order
}

/** Whether the scan has no rows. Do not run its SQL then: the conditions need not exclude every row. */
export const isEmpty = (scan: Scan): boolean => Range.isEmpty(scan.range)

/** The statement for the rows, in order. */
export const rows = (scan: Scan, max?: number): Statement => select(scan, scan.info.columns, scan.orderBy, max)

/** The statement for the keys of the rows in the scan's index, in order. */
export const keys = (scan: Scan, max: number): Statement => {
  const columns = scan.order.map((position) => quote(scan.info.codec.columns[position]!.name))
  return select(scan, columns.join(", "), scan.orderBy, max)
}

/** The statement for the keys of the rows as one JSON array, in order. Not for keys that are bytes. */
export const keysAsJson = (scan: Scan, max: number): Statement => {
  const { params, sql } = select(scan, scan.info.keyName, scan.orderBy, max)
  return { sql: `SELECT json_group_array(${scan.info.keyName}) FROM (${sql})`, params }
}

/** The statement for the number of rows, counted up to `max`. */
export const count = (scan: Scan, max: number): Statement => {
  const { params, sql } = select(scan, "1", "", max)
  return { sql: `SELECT count(*) FROM (${sql})`, params }
}

const select = (scan: Scan, columns: string, orderBy: string, max: number | undefined): Statement => ({
  sql:
    `SELECT ${columns} FROM ${scan.info.name}` +
    (scan.conditions.length > 0 ? ` WHERE ${scan.conditions.join(" AND ")}` : "") +
    (orderBy === "" ? "" : ` ORDER BY ${orderBy}`) +
    (max === undefined ? "" : " LIMIT ?"),
  params: max === undefined ? scan.params : [...scan.params, max]
})

/** The part of the range that was read if the scan stopped after the row with the key `last`. */
export const scannedRange = ({ descending, range }: Scan, last: Key | undefined): Range => {
  if (last === undefined) return { from: range.from, to: range.from }
  return descending
    ? { from: { key: last, after: false }, to: range.to }
    : { from: range.from, to: { key: last, after: true } }
}

type Condition = readonly [sql: string, params: ReadonlyArray<SqlValue>]

/** The condition for rows after a key in the order of these columns. */
const afterKey = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
  if (columns.every((column) => column.notNull)) return compareRows(columns, values, descending ? "<" : ">")
  const [past, params] = afterNullableKey(columns, values, descending)
  const [first, value] = [quote(columns[0]!.name), values[0]!]
  // Redundant, but SQLite can then seek to the key instead of scanning from the start.
  return descending || value === null ? [past, params] : [`${first} >= ? AND ${past}`, [value, ...params]]
}

/** The condition for rows up to a key: all rows that are not after it. */
const upToKey = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
  if (columns.every((column) => column.notNull)) return compareRows(columns, values, descending ? ">=" : "<=")
  const [past, params] = afterNullableKey(columns, values, descending)
  const [first, value] = [quote(columns[0]!.name), values[0]!]
  return !descending || value === null
    ? [`${past} IS NOT TRUE`, params]
    : [`${first} >= ? AND ${past} IS NOT TRUE`, [value, ...params]]
}

const compareRows = (columns: ReadonlyArray<RowCodec.Column>, values: Key, sign: string): Condition => {
  const names = columns.map((column) => quote(column.name)).join(", ")
  return [`(${names}) ${sign} (${values.map(() => "?").join(", ")})`, values]
}

/** `afterKey` for columns that can be NULL, which sorts first and which SQL's comparisons never match. */
const afterNullableKey = (columns: ReadonlyArray<RowCodec.Column>, values: Key, descending: boolean): Condition => {
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
