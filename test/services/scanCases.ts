import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import * as Cursor from "../../src/services/storage/Cursor.ts"
import * as RowCodec from "../../src/services/storage/RowCodec.ts"
import { StorageHarness, type WithDatabase } from "../contract/StorageHarness.ts"

type Query = Effect.Effect<unknown, any, any>
type AnyQuery = Query & Readonly<Record<string, any>>
type Value = number | null

const columns = ["a", "b", "c"]
/** Indexes that overlap, so that SQLite could choose another one. */
const indexes: Readonly<Record<string, { readonly columns: ReadonlyArray<string>; readonly unique: boolean }>> = {
  one: { columns: ["a"], unique: false },
  two: { columns: ["a", "b"], unique: false },
  three: { columns: ["a", "b", "c"], unique: false },
  other: { columns: ["a", "c"], unique: false },
  keyed: { columns: ["b", "id"], unique: false },
  single: { columns: ["c"], unique: true },
  pair: { columns: ["b", "c"], unique: true }
}

/** A table whose columns a, b and c are nullable or not, with indexes that overlap. */
const tableOf = (nullable: ReadonlySet<string>) => {
  const field = (name: string) => (nullable.has(name) ? Schema.NullOr(Schema.Int) : Schema.Int)
  class Row extends Model.Class<Row>("scan/Row")({
    id: Schema.String,
    a: field("a"),
    b: field("b"),
    c: field("c"),
    text: Schema.String
  }) {}
  return Table.make("rows", Row, { key: "id", indexes: indexes as Record<string, { columns: ["a"]; unique: boolean }> })
}

const subsets = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  product(items.map((item) => [[], [item]])).map((sets) => sets.flat())

const product = <A>(lists: ReadonlyArray<ReadonlyArray<A>>): ReadonlyArray<ReadonlyArray<A>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<A>>>(
    (all, list) => all.flatMap((start) => list.map((item) => [...start, item])),
    [[]]
  )

type Step = (query: AnyQuery, column: string) => AnyQuery
const bound = (column: string, value: number) => (column === "id" ? `k${value}` : value)
const ranges: ReadonlyArray<Step> = [
  (query, column) => query["gt"](column, bound(column, 4)),
  (query, column) => query["gte"](column, bound(column, 4)),
  (query, column) => query["lte"](column, bound(column, 9)),
  (query, column) => query["lt"](column, bound(column, 9)),
  (query, column) => query["gt"](column, bound(column, 4))["lte"](column, bound(column, 9)),
  (query) => query
]

/** Every query that the methods of a table can make over its indexes, but for the values in it. */
function* queriesOf(table: Table.Any, nullable: ReadonlySet<string>): Generator<Query> {
  const { query } = table as unknown as { query: (index?: string) => AnyQuery }
  const codec = RowCodec.of(table)
  const valuesOf = (column: string, values: ReadonlyArray<number>): ReadonlyArray<unknown> =>
    nullable.has(column) ? [null, ...values] : values.map((value) => bound(column, value))
  for (const index of [undefined, ...Object.keys(indexes)]) {
    const order = [...new Set([...(index === undefined ? [] : indexes[index]!.columns), "id"])]
    const ordered = order.map((name) => codec.columns[codec.columnIndex.get(name)!]!)
    for (const descending of [false, true]) {
      const begun = descending ? query(index)["descending"] : query(index)
      const prefixes = order.flatMap((_, i) => product(order.slice(0, i + 1).map((column) => valuesOf(column, [5]))))
      for (const prefix of [[], ...prefixes]) {
        const fixed = prefix.reduce<AnyQuery>((query, value, i) => query["eq"](order[i], value), begun)
        const rest = order.slice(prefix.length)
        for (const range of rest.length === 0 ? ranges.slice(-1) : ranges) {
          const query = range(fixed, rest[0]!)
          const filtered: AnyQuery = query["filter"](() => true)
          // The second time, only the keys of a list are read.
          yield* [query, query, query["take"](3), filtered, query["first"], query["unique"]]
          yield* [query["exists"], query["count"], query["take"](3)["count"], Stream.runDrain(query["stream"])]
          const cursors = (values: ReadonlyArray<number>) =>
            product(rest.map((column) => valuesOf(column, values))).map((key) =>
              Cursor.encode({ table: table.name, columns: ordered, descending }, [...prefix, ...key] as Array<Value>)
            )
          const afters = [undefined, ...cursors([descending ? 7 : 5])]
          const untils = [undefined, ...cursors([5, 7])]
          yield filtered["page"]({ size: 3, after: afters[1], until: untils[1] })
          for (const after of afters) for (const until of untils) yield query["page"]({ size: 3, after, until })
        }
      }
    }
  }
}

/** The conditions of a statement as `EXPLAIN QUERY PLAN` lists what it seeks by; "" for a statement without any. */
const conditionsOf = (sql: string): string =>
  (/ WHERE (.*?)(?: ORDER BY| LIMIT|$)/.exec(sql)?.[1] ?? "")
    .replaceAll('"', "")
    .replaceAll(" IS NULL", "=?")
    .replaceAll(/ (=|[<>]=?) /g, (_, sign: string) => (sign === "=" ? sign : sign[0]!))
    .replaceAll(", ", ",")

/** A database that records the text of the statements that read rows. */
const recording = (database: Database["Service"], seen: Set<string>): Database["Service"] => ({
  ...database,
  all(sql, params, max) {
    if (sql.includes('FROM "rows"')) seen.add(sql)
    return database.all(sql, params, max)
  },
  iterate(sql, params) {
    seen.add(sql)
    return database.iterate(sql, params)
  }
})

/** What reads of tables cost, over the SQLite of one platform. */
export const cases = (name: string, run: WithDatabase, nullables = subsets(columns)): void => {
  describe(`R1: ${name}`, () => {
    for (const nullable of nullables) {
      it(`ST26: every query seeks to both its ends and needs no sort, with ${nullable.join(", ") || "no column"} nullable`, () =>
        run((database) => {
          const seen = new Set<string>()
          const table = tableOf(new Set(nullable))
          const app = new StorageHarness(recording(database, seen), [table])
          seen.clear()
          const wrong: Array<string> = []
          let queries = 0
          for (const query of queriesOf(table, new Set(nullable))) {
            queries++
            const { exit } = app.runOnce(query)
            if (Exit.isFailure(exit)) wrong.push(Cause.pretty(exit.cause))
          }
          expect(wrong).toEqual([])
          for (const sql of seen) {
            const { rows } = database.all(
              `EXPLAIN QUERY PLAN ${sql}`,
              new Array<null>(sql.split("?").length - 1).fill(null)
            )
            const details = rows.map((row) => String(row[3])).filter((detail) => !/^(CO-ROUTINE|SCAN) \(/.test(detail))
            const conditions = conditionsOf(sql)
            const expected = conditions === "" ? /^SCAN rows/ : /^SEARCH rows USING /
            const seeks =
              details.length === 1 &&
              expected.test(details[0]!) &&
              details[0]!.endsWith(conditions === "" ? "" : `(${conditions})`)
            if (!seeks) wrong.push(`${sql}: ${details.join("; ")}`)
          }
          expect(wrong).toEqual([])
          expect([queries > 500, seen.size > 50]).toEqual([true, true])
        }))
    }
  })
}
