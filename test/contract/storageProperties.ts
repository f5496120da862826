import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Table } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import { Range } from "../../src/services/KeyOrder.ts"
import { spaceKey, touches, type WriteSet } from "../../src/services/ReadSet.ts"
import { forAll, type Random } from "../random.ts"
import { columnType } from "./columns.ts"
import { Fresh, type Reads, type WithDatabase, type Writes } from "./fresh.ts"
import { Oracle, type Plan, type Row, type Taken } from "./oracle.ts"

type Law = (random: Random, database: Database["Service"]) => void

/** Laws that hold for every schema, every row and every plan. A failure names the seed that repeats it. */
export const properties = (name: string, run: WithDatabase, share = 1): void => {
  const property = (title: string, rounds: number, law: Law) =>
    it(title, async () => {
      for (let i = 0; i < Math.ceil(rounds * share); i++) {
        await run((database) => forAll(1, (random) => law(random, database)))
      }
    })

  describe(name, () => {
    property("ST1 rows of every schema come back as they were given", 400, roundTrips)
    property(
      "ST10, ST11, ST22 a query gives what filtering and sorting gives, and records what it looked at",
      150,
      plans
    )
    property("ST13, ST14 pages go on where the last one ended, whatever was written or filtered meanwhile", 150, pages)
    property("ST22 a write that touches nothing recorded changes no result", 60, sound)
    property("ST23 what a mutation records is what it changed", 150, recorded)
  })
}

const roundTrips: Law = (random, database) => {
  const types = random.array(1 + random.int(8), () => columnType(random))
  const fields = { id: Table.key(Schema.String), ...Object.fromEntries(types.map((type, i) => [`c${i}`, type.schema])) }
  class Row extends Model.Class<Row>("properties/Row")(fields as { id: Table.Key<typeof Schema.String> }) {}
  const table = Table.make(`t${random.int(2 ** 31)}`, Row, { key: "id" })
  const app = new Fresh(database, [table])
  const changes = () => types.map((type, i) => [`c${i}`, type.value(random)] as const)
  // An exactly optional field must not be there at all.
  const values = () =>
    Object.fromEntries(
      changes().filter(([, value], i) => value !== undefined || !types[i]!.name.includes("optionalKey"))
    )
  const names = types.map((type) => type.name).join(", ")

  /** What has to come back: a field that is undefined where it may be missing is a missing one. */
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
      expect([sql, "null", ...(name.includes("Number") ? ["text"] : [])], `${name} is kept as ${type}`).toContain(type)
    })
  }
}

const fill = (random: Random, database: Database["Service"], rows: number) => {
  const oracle = new Oracle(random)
  const app = new Fresh(database, [oracle.table])
  for (let i = 0; i < rows; i++) {
    const row = oracle.newRow()
    if (row !== undefined) oracle.rows = [...oracle.rows, row]
  }
  app.mutate(oracle.table["insertMany"](oracle.rows))
  return { oracle, app }
}

const show = (value: unknown) =>
  JSON.stringify(value, (_, part) =>
    typeof part === "bigint" ? `${part}n` : part instanceof Uint8Array ? [...part] : part
  )

const expectRows = (rows: unknown, expected: ReadonlyArray<Row>, context: string): void => {
  const found = (rows as ReadonlyArray<Row>).map((row) => ({ ...row }))
  if (!Equal.equals(found, expected)) expect(show(found), context).toBe(show(expected))
}

const plans: Law = (random, database) => {
  const { app, oracle } = fill(random, database, random.int(30))
  const candidates = [...oracle.rows, ...random.array(20, () => oracle.row())]

  /** Runs a read and compares the ranges that it recorded with what the scan looked at. */
  const read = (effect: Effect.Effect<any, any, any>, plan: Plan, { last }: Taken, context: string) => {
    const { exit, reads } = app.run(effect)
    const ranges = reads.ranges.get(spaceKey(oracle.table.name, plan.index))?.ranges ?? []
    for (const row of candidates) {
      const looked =
        last !== "none" && oracle.isInRange(plan, row) && (last === undefined || oracle.compareIn(plan, row, last) <= 0)
      const isRecorded = ranges.some((range) => Range.contains(range, oracle.keyOf(plan.index, row)))
      expect(isRecorded, `${context} ${looked ? "looked at" : "did not look at"} ${show(row)}`).toBe(looked)
    }
    expect([reads.everything, reads.tables.size]).toEqual([false, 0])
    return exit
  }
  const success = <A>(exit: Exit.Exit<A, any>): A => {
    if (Exit.isSuccess(exit)) return exit.value
    throw new Error(String(exit.cause))
  }

  for (let i = 0; i < 10; i++) {
    const plan = oracle.plan()
    const query = oracle.query(plan)
    const context = `${show(plan)} of ${show(oracle.rows)}`
    const upTo = (most: number) => oracle.take(plan, Math.min(most, plan.limit ?? most))

    const all = oracle.take(plan, plan.limit)
    expectRows(success(read(query, plan, all, context)), all.rows, context)
    expect(success(read(query["count"], plan, all, `count ${context}`)), context).toBe(all.rows.length)
    const one = upTo(1)
    expect(success(read(query["exists"], plan, one, `exists ${context}`))).toBe(one.rows.length > 0)
    const first = success(read(query["first"], plan, one, `first ${context}`))
    expectRows(first._tag === "Some" ? [first.value] : [], one.rows, `first ${context}`)
    const two = upTo(2)
    const unique = read(query["unique"], plan, two, `unique ${context}`)
    expect(Exit.isFailure(unique)).toBe(two.rows.length > 1)
    const count = 1 + random.int(5)
    const taken = query["stream"].pipe(Stream.take(count), Stream.runCollect)
    expectRows(success(read(taken, plan, upTo(count), `stream ${context}`)), upTo(count).rows, context)

    const size = Math.min(count, plan.limit ?? count)
    const page = plan.limit === 0 ? upTo(0) : oracle.take(plan, size + 1)
    const { items, next } = success(read(query["page"]({ size: count }), plan, page, `page ${context}`))
    expectRows(items, page.rows.slice(0, size), `page ${context}`)
    expect(next !== null, `page ${context}`).toBe(page.rows.length > size)
  }
}

/** One write of a random row, carried out on both sides. What it inserted or deleted is told. */
const writeOne = (random: Random, app: Fresh, oracle: Oracle): Row | undefined => {
  const { table } = oracle
  const old = oracle.rows.length > 0 && random.chance(0.6) ? random.pick(oracle.rows) : undefined
  const others = oracle.rows.filter((row) => row !== old)
  if (old === undefined) {
    const row = oracle.newRow()
    if (row === undefined) return undefined
    app.mutate(table["insert"](row))
    oracle.rows = [...oracle.rows, row]
    return row
  }
  if (random.chance(0.5)) {
    app.mutate(table["delete"](old["id"]))
    oracle.rows = others
  } else {
    const row = { ...oracle.row(), id: old["id"] }
    app.mutate(table["replace"](old["id"], row))
    oracle.rows = [...others, row]
  }
  return old
}

const pages: Law = (random, database) => {
  const { app, oracle } = fill(random, database, random.int(40))
  const { filter: _, ...plan } = { ...oracle.plan(), limit: undefined }
  const filters = random.chance(0.5)
  const untouched = new Set(oracle.scan({ ...plan, filter: undefined }))
  const seen: Array<Row> = []
  let after: string | undefined
  let place: Row | undefined
  do {
    const filter = filters ? oracle.plan().filter : undefined
    const size = 1 + random.int(6)
    const context = `${show(plan)} after ${show(place)} of ${show(oracle.rows)}`
    const page = app.query<any, any>(oracle.query({ ...plan, filter })["page"]({ size, after }))
    const expected = oracle.take({ ...plan, filter }, size + 1, place).rows
    expectRows(page.items, expected.slice(0, size), context)
    expect(page.next !== null, context).toBe(expected.length > size)
    seen.push(...page.items)
    after = page.next ?? undefined
    place = expected[size - 1]
    for (let i = random.int(4); i > 0; i--) {
      const written = writeOne(random, app, oracle)
      for (const row of untouched) if (Equal.equals(row["id"], written?.["id"])) untouched.delete(row)
    }
  } while (after !== undefined)
  if (filters) return
  for (const row of untouched) {
    expect(seen.filter((other) => Equal.equals(other["id"], row["id"])).length, show(row)).toBe(1)
  }
}

// --- A family of tables that refer to each other

const id = Schema.String
class Node extends Model.Class<Node>("properties/Node")({
  id,
  up: Schema.optionalKey(id),
  mate: Schema.NullOr(id),
  n: Schema.optionalKey(Schema.Int)
}) {}
class Leaf extends Model.Class<Leaf>("properties/Leaf")({
  id,
  node: id,
  mark: Schema.optionalKey(id),
  other: Schema.optionalKey(id),
  n: Schema.Int
}) {}
class Guard extends Model.Class<Guard>("properties/Guard")({ id, node: id }) {}
class Tag extends Model.Class<Tag>("properties/Tag")({ id, label: Schema.String, n: Schema.Int }) {}

const nodes = Table.make("nodes", Node, {
  key: "id",
  indexes: { byN: ["n"], byUp: ["up", "n"] },
  references: {
    up: { table: (): Table.Any => nodes, onDelete: "cascade" },
    mate: { table: (): Table.Any => nodes, onDelete: "setNull" }
  }
})
const leaves = Table.make("leaves", Leaf, {
  key: "id",
  indexes: { byNode: ["node", "n"], byN: ["n", "mark"] },
  references: {
    node: { table: () => nodes, onDelete: "cascade" },
    mark: { table: () => nodes, onDelete: "setNull" },
    other: { table: (): Table.Any => leaves, onDelete: "setNull" }
  }
})
const guards = Table.make("guards", Guard, { key: "id", references: { node: { table: () => nodes } } })
const tags = Table.make("tags", Tag, {
  key: "id",
  indexes: { byLabel: { columns: ["label"], unique: true }, byN: ["n", "label"] }
})
const family: ReadonlyArray<Table.Any> = [nodes, leaves, guards, tags]

const anyId = (random: Random) => random.pick(["a", "b", "c", "d", "e", "f", "g", "h"])
const maybe = <A>(random: Random, name: string, value: A) => (random.chance(0.6) ? { [name]: value } : {})
const rowOf: Record<string, (random: Random) => any> = {
  nodes: (random) => ({
    id: anyId(random),
    mate: random.chance(0.5) ? anyId(random) : null,
    ...maybe(random, "up", anyId(random)),
    ...maybe(random, "n", random.int(4))
  }),
  leaves: (random) => ({
    id: anyId(random),
    node: anyId(random),
    n: random.int(4),
    ...maybe(random, "mark", anyId(random)),
    ...maybe(random, "other", anyId(random))
  }),
  guards: (random) => ({ id: anyId(random), node: anyId(random) }),
  tags: (random) => ({ id: anyId(random), label: random.pick(["x", "y", "z", "\u{1f600}"]), n: random.int(3) })
}

/** One operation, which may well fail. */
const operation = (random: Random): Effect.Effect<unknown, unknown, Writes> => {
  const table: any = random.pick([nodes, nodes, leaves, leaves, guards, tags])
  const row = rowOf[table.name]!(random)
  const change = Object.fromEntries(Object.entries(row).filter(() => random.chance(0.5)))
  switch (random.int(8)) {
    case 0:
      return table.delete(row.id)
    case 1:
      return table.patch(row.id, change)
    case 2:
      return table.replace(row.id, row)
    case 3:
    case 4:
      return table.upsert(row)
    case 5:
      return table.insertMany(random.array(random.int(4), () => rowOf[table.name]!(random)))
    default:
      return table.insert(row)
  }
}

const sound: Law = (random, database) => {
  const app = new Fresh(database, family)
  const write = () => app.mutation(Effect.all(random.array(1 + random.int(2), () => Effect.exit(operation(random)))))
  for (let i = 0; i < 15; i++) write()
  const queryOf = (): any => {
    let query: any = random.pick([
      () => nodes.query(),
      () => nodes.query("byN"),
      () => nodes.query("byUp").eq("up", anyId(random)),
      () => nodes.query("byUp"),
      () => leaves.query("byNode").eq("node", anyId(random)),
      () => leaves.query("byN"),
      () => leaves.query("byN").eq("n", random.int(4)),
      () => nodes.query("byN").gt("n", random.int(4)),
      () => nodes.query("byN").lte("n", random.int(4)),
      () => tags.query("byN").eq("n", random.int(3)).gte("label", "y"),
      () => tags.query("byLabel").eq("label", random.pick(["x", "y", "z"]))
    ])()
    if (random.chance(0.4)) query = query.descending
    if (random.chance(0.4)) query = query.take(random.int(4))
    if (random.chance(0.3)) query = query.filter((row: any) => (row.n ?? 0) > 0)
    return query
  }
  const readOf = (): Effect.Effect<unknown, unknown, Reads> => {
    const sql = (text: string) => SqlClient.SqlClient.use((sql) => sql.unsafe(text))
    switch (random.int(9)) {
      case 0:
        return nodes.get(anyId(random))
      case 1:
        return leaves.getMany(random.array(3, () => anyId(random)))
      case 2:
        return queryOf().count
      case 3:
        return queryOf().exists
      case 4:
        return queryOf().first
      case 5:
        return queryOf().page({ size: 1 + random.int(3) })
      case 6:
        return sql(
          random.pick([
            "SELECT count(*) AS n FROM leaves",
            "SELECT nodes.id, label FROM nodes JOIN tags ON tags.n = nodes.n ORDER BY 1, 2",
            "SELECT max(n) AS n FROM tags"
          ])
        )
      default:
        return queryOf()
    }
  }
  const reads = random.array(30, () => {
    const read = readOf()
    return { read, ...app.run(read) }
  })
  const before = reads.map(({ exit }) => show(exit))
  for (let i = 0; i < 10; i++) {
    const { writes } = write()
    reads.forEach((known, j) => {
      const next = app.run(known.read)
      if (!touches(known.reads, writes)) expect(show(next.exit), show(showWrites(writes))).toBe(before[j])
      Object.assign(known, next)
      before[j] = show(next.exit)
    })
  }
}

const showWrites = (writes: WriteSet): ReadonlyArray<string> =>
  [...writes.keys.values()]
    .flatMap(({ index, keys, table }) => keys.map((key) => show([table, index, ...key])))
    .toSorted()

const recorded: Law = (random, database) => {
  const app = new Fresh(database, family)
  const orders: ReadonlyArray<readonly [Table.Any, string, ReadonlyArray<string>]> = family.flatMap((table) => [
    [table, "", ["id"]] as const,
    ...[...table.indexes.values()].map((index) => [table, index.name, [...index.columns, "id"]] as const)
  ])
  /** The rows of every table, as SQLite has them. */
  const contents = () =>
    new Map(
      family.map((table) => {
        const { columns, rows } = database.all(`SELECT * FROM "${table.name}"`, [])
        const objects = rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]!])))
        return [table.name, new Map(objects.map((row) => [row["id"] as string, row]))]
      })
    )
  let current = contents()
  let journal: Array<string> = []
  /** Writes down the keys of the rows that are not as they were, in every index. */
  const compare = Effect.sync(() => {
    const next = contents()
    for (const [table, index, columns] of orders) {
      const [old, now] = [current.get(table.name)!, next.get(table.name)!]
      for (const id of new Set([...old.keys(), ...now.keys()])) {
        const [before, after] = [old.get(id), now.get(id)]
        if (Equal.equals(before, after)) continue
        for (const row of [before, after]) {
          if (row !== undefined) journal.push(show([table.name, index, ...columns.map((column) => row[column])]))
        }
      }
    }
    current = next
  })
  const body = (depth: number): Effect.Effect<void, string, Writes> =>
    Effect.gen(function* () {
      for (let i = random.int(5); i > 0; i--) {
        if (depth < 3 && random.chance(0.25)) {
          const mark = journal.length
          const exit = yield* Effect.exit(Table.atomically(body(depth + 1)))
          if (Exit.isFailure(exit)) {
            journal.length = mark
            current = contents()
          }
        } else {
          yield* Effect.exit(operation(random))
          yield* compare
        }
      }
      if (random.chance(0.25)) return yield* Effect.fail("no")
    })
  for (let i = 0; i < 12; i++) {
    journal = []
    const { exit, writes } = app.mutation(body(0))
    if (Exit.isFailure(exit)) {
      journal = []
      current = contents()
    }
    expect(showWrites(writes)).toEqual([...new Set(journal)].toSorted())
    expect([writes.everything, writes.rawTables.size]).toEqual([false, 0])
  }
}
