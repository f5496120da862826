import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import { forAllAsync, type Random } from "../random.ts"
import { columnType } from "./columns.ts"
import { pages, plans } from "./queryLaws.ts"
import { recorded, sound } from "./recordLaws.ts"
import { StorageHarness, type WithDatabase } from "./StorageHarness.ts"

type Law = (random: Random, database: Database["Service"]) => void

/** Laws that hold for every schema, every row and every plan. A failure reports its seed. */
export const properties = (name: string, run: WithDatabase, share = 1): void => {
  const property = (title: string, rounds: number, law: Law) =>
    it(title, async () => {
      await forAllAsync(Math.ceil(rounds * share), async (random) => run((database) => law(random, database)))
    })

  describe(`R1: ${name}`, () => {
    property("ST1 rows of every schema are read as they were written", 400, roundTrips)
    property(
      "ST10, ST11, ST22 a query returns what filtering and sorting returns, and records what it read",
      150,
      plans
    )
    property(
      "ST13, ST14 a page continues where the last one ended, whatever was written or filtered meanwhile",
      150,
      pages
    )
    property("ST22 a write that does not affect the recorded reads changes no result", 60, sound)
    property("ST23 a mutation records exactly what it changed", 150, recorded)
  })
}

const roundTrips: Law = (random, database) => {
  const types = random.array(1 + random.int(8), () => columnType(random))
  const fields = { id: Table.key(Schema.String), ...Object.fromEntries(types.map((type, i) => [`c${i}`, type.schema])) }
  class Row extends Model.Class<Row>("properties/Row")(fields as { id: Table.Key<typeof Schema.String> }) {}
  const table = Table.make(`t${random.int(2 ** 31)}`, Row, { key: "id" })
  const app = new StorageHarness(database, [table])
  const changes = () => types.map((type, i) => [`c${i}`, type.value(random)] as const)
  // An exactly optional field must be absent, not undefined.
  const values = () =>
    Object.fromEntries(
      changes().filter(([, value], i) => value !== undefined || !types[i]!.name.includes("optionalKey"))
    )
  const names = types.map((type) => type.name).join(", ")

  /** The row that reads must return: an optional field that is undefined counts as missing. */
  const expected = (row: Row) => {
    const given = Object.entries(row).filter(([name, value]) => {
      const { ast } = table.model.fields[name as "id"]
      return value !== undefined || ast.context?.isOptional !== true
    })
    return new Row(Object.fromEntries(given) as never)
  }
  const check = (row: Row) => {
    const found = app.query(table.get(row.id))
    if (!Equal.equals(found, expected(row))) expect(found, names).toEqual(expected(row))
  }
  const rows = app.mutate(table.insertMany(random.array(1 + random.int(5), () => values() as never)))
  for (const row of rows) check(row)
  expect(app.query(table.query()).length).toBe(rows.length)

  const [first] = rows
  const patch = Object.fromEntries(changes().filter(() => random.chance(0.5)))
  const patched = app.mutate(table.patch(first!.id, patch as never))
  for (const [name, value] of Object.entries(patch)) {
    if (value !== undefined) expect(Equal.equals(patched[name as "id"], value), `${names}: ${name}`).toBe(true)
  }
  check(patched)
  check(app.mutate(table.replace(first!.id, values() as never)))
  check(app.mutate(table.upsert({ ...values(), id: first!.id } as never)))

  const stored = app.database.all(`SELECT ${types.map((_, i) => `typeof(c${i})`).join(", ")} FROM "${table.name}"`, [])
  for (const row of stored.rows) {
    row.forEach((type, i) => {
      const { name, sql } = types[i]!
      expect([sql, "null", ...(name.includes("Number") ? ["text"] : [])], `${name} is stored as ${type}`).toContain(
        type
      )
    })
  }
}
