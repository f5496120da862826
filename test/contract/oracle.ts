import * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { compareValues, type Key, type SqlValue } from "../../src/services/storage/KeyOrder.ts"
import { bigintToText } from "../../src/services/storage/RowCodec.ts"
import type { Random } from "../random.ts"
import { bigint, bytes, type ColumnType, plain, text } from "./columns.ts"

export type Row = Readonly<Record<string, unknown>>

interface Column {
  readonly name: string
  readonly schema: Schema.Top
  /** Few values, so that rows share them. `undefined` and `null` are among them where the column allows them. */
  readonly values: ReadonlyArray<unknown>
}

/** A query, in terms of rows. */
export interface Plan {
  readonly index: string
  readonly equal: ReadonlyArray<readonly [column: string, value: unknown]>
  readonly lower: { readonly column: string; readonly value: unknown; readonly inclusive: boolean } | undefined
  readonly upper: Plan["lower"]
  readonly descending: boolean
  readonly limit: number | undefined
  readonly filter: ((row: Row) => boolean) | undefined
}

export interface Taken {
  readonly rows: ReadonlyArray<Row>
  /** The last row that the scan read; `undefined` if it read to its end. */
  readonly last?: Row | "none"
}

/** The ends of a page: it begins after one row and ends with the other. */
export interface PageEnds {
  readonly after?: Row | undefined
  readonly until?: Row | undefined
}

/** A query whose method names are known only at run time. */
export interface AnyQuery extends Effect.Effect<ReadonlyArray<Row>, any, any> {
  readonly [method: string]: any
}

/** A value as an index compares it: bigints as numbers, all others as SQLite stores them. */
const indexValue = (value: unknown): SqlValue | bigint => {
  if (value === undefined || value === null) return null
  if (typeof value === "boolean") return value ? 1 : 0
  if (DateTime.isDateTime(value)) return DateTime.toEpochMillis(value)
  // NaN is stored as text, which sorts after all numbers.
  if (Number.isNaN(value)) return "NaN"
  return value as SqlValue | bigint
}

const toSql = (value: unknown): SqlValue => {
  const stored = indexValue(value)
  return typeof stored === "bigint" ? bigintToText(stored) : stored
}

const compare = (a: unknown, b: unknown): number => {
  const [left, right] = [indexValue(a), indexValue(b)]
  if (typeof left === "bigint" && typeof right === "bigint") return left < right ? -1 : left > right ? 1 : 0
  return compareValues(left as SqlValue, right as SqlValue)
}

/** A random table, and the expected results of its queries, computed by filtering and sorting arrays. */
export class Oracle {
  readonly table: Table.Any & { readonly query: (index?: string) => AnyQuery } & Readonly<Record<string, any>>
  rows: ReadonlyArray<Row> = []
  private readonly random: Random
  private readonly columns: ReadonlyArray<Column>
  private readonly orders: ReadonlyMap<string, ReadonlyArray<string>>

  constructor(random: Random) {
    this.random = random
    const named = random.array(2 + random.int(3), (i) => columnOf(random, `c${i}`))
    const key = columnOf(random, "id", true)
    this.columns = [key, ...named]
    const indexes = Object.fromEntries(
      random.array(1 + random.int(3), (i) => [`i${i}`, random.shuffle(named).slice(0, 1 + random.int(3))] as const)
    )
    const namesByIndex = Object.entries(indexes).map(
      ([index, columns]) => [index, columns.map(({ name }) => name)] as const
    )
    this.orders = new Map([["", ["id"]], ...namesByIndex.map(([index, names]) => [index, [...names, "id"]] as const)])
    const fields = { id: key.schema, ...Object.fromEntries(named.map(({ name, schema }) => [name, schema])) }
    class Row extends Model.Class<Row>("oracle/Row")(fields as { id: typeof Schema.String }) {}
    this.table = Table.make(`t${random.int(2 ** 31)}`, Row, {
      key: "id",
      indexes: Object.fromEntries(namesByIndex) as Record<string, ["id"]>
    }) as unknown as Oracle["table"]
  }

  /** A row with any key. */
  row(): Row {
    const fields = this.columns.map(({ name, values }) => [name, this.random.pick(values)] as const)
    return Object.fromEntries(fields.filter(([, value]) => value !== undefined))
  }

  /** A row with a key that no row has, unless there are too few keys. */
  newRow(): Row | undefined {
    for (let i = 0; i < 20; i++) {
      const row = this.row()
      if (this.rows.every((other) => compare(other["id"], row["id"]) !== 0)) return row
    }
    return undefined
  }

  plan(): Plan {
    const { random } = this
    const index = random.pick([...this.orders.keys()])
    const order = this.orders.get(index)!
    const value = (column: string) => random.pick(this.columns.find(({ name }) => name === column)!.values)
    const equal = order.slice(0, random.int(order.length + 1)).map((column) => [column, value(column)] as const)
    const next = order[equal.length]
    const bound = () =>
      next === undefined || random.chance(0.5)
        ? undefined
        : { column: next, value: value(next), inclusive: random.chance(0.5) }
    const tested = random.pick(order)
    const least = value(tested)
    return {
      index,
      equal,
      lower: bound(),
      upper: bound(),
      descending: random.chance(0.5),
      limit: random.chance(0.5) ? random.int(6) : undefined,
      filter: random.chance(0.4) ? (row) => compare(row[tested], least) >= 0 : undefined
    }
  }

  query(plan: Plan): AnyQuery {
    let query: AnyQuery = plan.index === "" ? this.table.query() : this.table.query(plan.index)
    for (const [column, value] of plan.equal) query = query["eq"](column, value)
    const { lower, upper } = plan
    if (lower !== undefined) query = query[lower.inclusive ? "gte" : "gt"](lower.column, lower.value)
    if (upper !== undefined) query = query[upper.inclusive ? "lte" : "lt"](upper.column, upper.value)
    if (plan.descending) query = query["descending"]
    if (plan.filter !== undefined) query = query["filter"](plan.filter)
    return plan.limit === undefined ? query : query["take"](plan.limit)
  }

  /** Compares rows in the index of a plan: below 0 if the first comes before the second in the plan's direction. */
  compareIn(plan: Plan, a: Row, b: Row): number {
    for (const column of this.orders.get(plan.index)!) {
      const order = compare(a[column], b[column])
      if (order !== 0) return plan.descending ? -order : order
    }
    return 0
  }

  /** Whether the plan's fixed columns and bounds include the row. Ignores its filter. */
  private isInRange(plan: Plan, row: Row): boolean {
    const { equal, lower, upper } = plan
    if (!equal.every(([column, value]) => compare(row[column], value) === 0)) return false
    for (const [bound, sign] of [
      [lower, 1],
      [upper, -1]
    ] as const) {
      if (bound === undefined) continue
      if (indexValue(bound.value) === null || indexValue(row[bound.column]) === null) return false
      const order = compare(row[bound.column], bound.value) * sign
      if (order < 0 || (order === 0 && !bound.inclusive)) return false
    }
    return true
  }

  /** Whether a complete scan of the plan reads the row: within its range and page. Ignores its filter. */
  isScanned(plan: Plan, row: Row, { after, until }: PageEnds = {}): boolean {
    return (
      this.isInRange(plan, row) &&
      (after === undefined || this.compareIn(plan, row, after) > 0) &&
      (until === undefined || this.compareIn(plan, row, until) <= 0)
    )
  }

  /** The first rows of a scan that the filter accepts, and the last row that the scan read. */
  take(plan: Plan, limit: number | undefined, ends: PageEnds = {}): Taken {
    const rows: Array<Row> = []
    if (limit === 0) return { rows, last: "none" }
    const scanned = this.rows.filter((row) => this.isScanned(plan, row, ends))
    for (const row of scanned.toSorted((a, b) => this.compareIn(plan, a, b))) {
      if (plan.filter?.(row) === false) continue
      if (rows.push(row) === limit) return { rows, last: row }
    }
    return { rows }
  }

  /** The key of a row in an index, as reads and writes are recorded. */
  keyOf(index: string, row: Row): Key {
    return this.orders.get(index)!.map((column) => toSql(row[column]))
  }

  sameKey(a: Row, b: Row): boolean {
    return compare(a["id"], b["id"]) === 0
  }
}

const columnOf = (random: Random, name: string, isKey = false): Column => {
  const type = random.pick(isKey ? plain.filter((type) => type.name !== "Boolean") : plain)
  const values = random.array(isKey ? 40 : 4, () => valueOf(random, type))
  const schema = type.schema as Schema.Top
  const absence = isKey ? 0 : random.int(3)
  if (absence === 1) return { name, values: [...values, undefined], schema: Schema.optionalKey(schema) }
  if (absence === 2) return { name, values: [...values, null], schema: Schema.NullOr(schema) }
  return { name, values, schema }
}

/** Values that are close in one order and far apart in another. */
const valueOf = (random: Random, type: ColumnType): unknown => {
  switch (type.name) {
    case "String":
      return random.pick(["", "a", "a\u0000", "aa", "A", "é", "\uffff", "\u{10000}", "\u{1f600}", "a'", text(random)])
    case "BigInt":
      return random.pick([0n, 9n, 10n, -9n, -10n, 2n ** 64n, -(2n ** 64n), 2n ** 64n + 1n, bigint(random)])
    case "Number":
      return random.pick([
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        Number.NaN,
        -1.5,
        -1,
        0,
        0.1,
        1,
        2 ** 60,
        random.next()
      ])
    case "Uint8Array":
      return random.pick([Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(255), bytes(random)])
    default:
      return type.value(random)
  }
}
