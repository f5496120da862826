import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Table } from "effect-dormouse"
import { expect } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import { touches, type WriteSet } from "../../src/services/storage/ReadSet.ts"
import type { Random } from "../random.ts"
import { type Reads, StorageHarness, show, type Writes } from "./StorageHarness.ts"

/** Tables with references of every kind, to each other and to themselves. */
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
  also: Schema.optionalKey(id),
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
    also: { table: () => nodes, onDelete: "setNull" },
    other: { table: (): Table.Any => leaves, onDelete: "setNull" }
  }
})
const guards = Table.make("guards", Guard, { key: "id", references: { node: { table: () => nodes } } })
const tags = Table.make("tags", Tag, {
  key: "id",
  indexes: { byLabel: { columns: ["label"], unique: true }, byN: ["n", "label"] }
})
const family: ReadonlyArray<Table.Any> = [nodes, leaves, guards, tags]

const ids = ["a", "b", "c", "d", "e"]
const anyId = (random: Random) => random.pick(ids)
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
    ...maybe(random, "also", anyId(random)),
    ...maybe(random, "other", anyId(random))
  }),
  guards: (random) => ({ id: anyId(random), node: anyId(random) }),
  tags: (random) => ({ id: anyId(random), label: random.pick(["x", "y", "z", "\u{1f600}"]), n: random.int(3) })
}

/** One operation, which often fails. */
const operation = (random: Random): Effect.Effect<unknown, unknown, Writes> => {
  const table: any = random.pick([nodes, nodes, leaves, leaves, guards, tags])
  const row = rowOf[table.name]!(random)
  const change = Object.fromEntries(Object.entries(row).filter(() => random.chance(0.5)))
  switch (random.int(9)) {
    case 0:
    case 8:
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

/** Inserts a row for nearly every id: first rows without references, then, where possible, rows with them. */
const populate = (random: Random): Effect.Effect<unknown, never, Writes> => {
  const all = (table: any, more: object = {}) =>
    random.shuffle(ids).map((id) => Effect.exit(table.upsert({ ...rowOf[table.name]!(random), ...more, id })))
  const bare = ids.map((id) => nodes.insert({ id, mate: null }))
  return Effect.all([...bare, ...all(nodes), ...all(leaves), ...all(leaves), ...all(tags)] as ReadonlyArray<
    Effect.Effect<unknown, never, Writes>
  >)
}

/** A write that does not affect what a run recorded does not change its result. */
export const sound = (random: Random, database: Database["Service"]): void => {
  const app = new StorageHarness(database, family)
  const write = () => app.mutation(Effect.all(random.array(1 + random.int(2), () => Effect.exit(operation(random)))))
  app.mutate(populate(random))
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

/** A mutation records exactly what it changed: cascades are included, nested transactions that rolled back are not. */
export const recorded = (random: Random, database: Database["Service"]): void => {
  const app = new StorageHarness(database, family)
  const orders: ReadonlyArray<readonly [Table.Any, string, ReadonlyArray<string>]> = family.flatMap((table) => [
    [table, "", ["id"]] as const,
    ...[...table.indexes.values()].map((index) => [table, index.name, [...index.columns, "id"]] as const)
  ])
  /** The rows of every table, as SQLite stores them. */
  const contents = () =>
    new Map(
      family.map((table) => {
        const { columns, rows } = database.all(`SELECT * FROM "${table.name}"`, [])
        const objects = rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]!])))
        return [table.name, new Map(objects.map((row) => [row["id"] as string, row]))]
      })
    )
  app.mutate(populate(random))
  let current = contents()
  let journal: Array<string> = []
  /** Adds the keys of all changed rows, in every index, to the journal. */
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
