import { env, runInDurableObject } from "cloudflare:test"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import * as CloudflareDatabase from "../../src/layers/cloudflare/Database.ts"
import * as Cursor from "../../src/services/storage/Cursor.ts"
import * as RowCodec from "../../src/services/storage/RowCodec.ts"
import { StorageHarness } from "../contract/StorageHarness.ts"
import { cases } from "./scanCases.ts"

const someNullable = [[], ["a"], ["b"], ["c"], ["a", "b", "c"]]

cases(
  "Scan in a Durable Object",
  (body) =>
    runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
      body(CloudflareDatabase.make(storage))
    ),
  someNullable
)

interface Read {
  readonly name: string
  /** How many rows the query returned. */
  readonly returned: number
  /** How many rows and entries of indexes SQLite read. */
  readonly read: number
}

/** Rows whose columns a, b and c are 0 in a third of them, or null where they are nullable, and else shared or not. */
const readsOf = async (nullable: ReadonlySet<string>, rows: number): Promise<ReadonlyArray<Read>> => {
  const field = (name: string) => (nullable.has(name) ? Schema.NullOr(Schema.Int) : Schema.Int)
  class Row extends Model.Class<Row>("flat/Row")({ id: Schema.Int, a: field("a"), b: field("b"), c: field("c") }) {}
  const table = Table.make("rows", Row, { key: "id", indexes: { abc: ["a", "b", "c"], a: ["a"], ac: ["a", "c"] } })
  const reads: Array<Read> = []
  await runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) => {
    const cursors: Array<{ readonly rowsRead: number }> = []
    const sql = {
      exec: (text: string, ...params: Array<any>) => {
        const cursor = storage.sql.exec(text, ...params)
        cursors.push(cursor)
        return cursor
      }
    }
    const database = CloudflareDatabase.make({ sql, transactionSync: (body) => storage.transactionSync(body) })
    const app = new StorageHarness(database, [table])
    const none = (name: string) => (nullable.has(name) ? "NULL" : "0")
    database.run(
      `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${rows}) INSERT INTO rows SELECT i,
        iif(i * 3 / ${rows} = 0, ${none("a")}, i * 3 / ${rows}),
        iif(i * 9 / ${rows} % 3 = 0, ${none("b")}, i * 9 / ${rows} % 3),
        iif(i * 27 / ${rows} % 3 = 0, ${none("c")}, i) FROM n`,
      []
    )
    const measure = <A>(name: string, query: Effect.Effect<A, any, any>, count: (value: A) => number): void => {
      // Not the first one: an object reads the schema once.
      app.runOnce(query)
      app.tamper("SELECT 1")
      cursors.length = 0
      const value = app.query<A, any>(query as Effect.Effect<A, any, never>)
      reads.push({ name, returned: count(value), read: cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0) })
    }
    app.comparesRuns = false
    const codec = RowCodec.of(table)
    const items = (page: { readonly items: ReadonlyArray<unknown> }) => page.items.length
    const length = (items: ReadonlyArray<unknown>) => items.length
    for (const index of ["abc", "a", "ac"] as const) {
      const order = [...table.indexes.get(index)!.columns, "id"]
      const columns = order.map((name) => codec.columns[codec.columnIndex.get(name)!]!)
      for (const descending of [false, true]) {
        const names = order.join(", ")
        const sorted = descending ? order.map((column) => `${column} DESC`).join(", ") : names
        const cursorAt = (offset: number) => {
          const { rows } = database.all(`SELECT ${names} FROM rows ORDER BY ${sorted} LIMIT 1 OFFSET ?`, [offset])
          return Cursor.encode({ table: "rows", columns, descending }, rows[0]!)
        }
        const all = descending ? table.query(index).descending : table.query(index)
        const one = descending ? table.query(index).eq("a", 1).descending : table.query(index).eq("a", 1)
        const name = (form: string) => `${index}${descending ? " descending" : ""}: ${form}`
        measure(name("take"), all.take(10), length)
        measure(name("first"), all.first, () => 1)
        measure(name("exists"), all.exists, () => 1)
        measure(name("unique"), Effect.exit(all.unique), () => 2)
        measure(name("count"), all.take(10).count, (count) => count)
        measure(name("stream"), all.stream.pipe(Stream.take(10), Stream.runCollect), length)
        measure(name("filter"), all.filter((row) => row.id >= 0).take(10), length)
        measure(name("eq"), one.take(10), length)
        for (const part of [0.02, 0.35, 0.5, 0.68, 0.97]) {
          const start = Math.floor(rows * part)
          const [after, until] = [cursorAt(start), cursorAt(start + 12)]
          measure(name(`page after ${part}`), all.page({ size: 9, after }), items)
          measure(name(`page between ${part}`), all.page({ size: 9, after, until }), items)
          measure(name(`filtered page between ${part}`), all.filter(() => true).page({ size: 9, after, until }), items)
          if (part > 0.34 && part < 0.65) {
            measure(name(`page of a = 1 after ${part}`), one.page({ size: 9, after }), items)
            measure(name(`page of a = 1 between ${part}`), one.page({ size: 9, after, until }), items)
          }
        }
        measure(name("page until"), all.page({ size: 9, until: cursorAt(11) }), items)
      }
    }
  })
  return reads
}

describe("R1: Scan in a Durable Object", () => {
  for (const nullable of someNullable) {
    it(`ST26: what a query reads does not grow with the table, with ${nullable.join(", ") || "no column"} nullable`, async () => {
      const small = await readsOf(new Set(nullable), 1_000)
      const large = await readsOf(new Set(nullable), 30_000)
      expect(large).toEqual(small)
      // For each row at most its entry in the index, the row, and a row of an inner statement; and one row past each end.
      expect(large.filter(({ read, returned }) => read > 3 * returned + 4)).toEqual([])
    })
  }
})
