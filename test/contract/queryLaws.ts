import type * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { expect } from "vitest"
import type { Database } from "../../src/services/Database.ts"
import { Range } from "../../src/services/storage/KeyOrder.ts"
import { indexKey } from "../../src/services/storage/ReadSet.ts"
import { type Random, Violation } from "../random.ts"
import { Oracle, type PageEnds, type Plan, type Row, type Taken } from "./oracle.ts"
import { StorageHarness, show } from "./StorageHarness.ts"

/** A random table with random rows, in the storage and in the oracle. */
class RandomTable {
  readonly oracle: Oracle
  readonly app: StorageHarness
  private readonly random: Random

  constructor(random: Random, database: Database["Service"], rows: number) {
    this.random = random
    this.oracle = new Oracle(random)
    this.app = new StorageHarness(database, [this.oracle.table])
    for (let i = 0; i < rows; i++) {
      const row = this.oracle.newRow()
      if (row !== undefined) this.oracle.rows = [...this.oracle.rows, row]
    }
    this.app.mutate(this.oracle.table["insertMany"](this.oracle.rows))
  }

  /** Runs a read. The ranges that it recorded must contain exactly the rows that the scan read. */
  read(effect: Effect.Effect<any, any, any>, plan: Plan, { last }: Taken, context: string, ends?: PageEnds) {
    const { app, oracle } = this
    const { exit, reads } = app.run(effect)
    const ranges = reads.ranges.get(indexKey(oracle.table.name, plan.index))?.ranges ?? []
    for (const row of [...oracle.rows, ...this.random.array(10, () => oracle.row())]) {
      const reached = last === undefined || (last !== "none" && oracle.compareIn(plan, row, last) <= 0)
      const isRead = reached && oracle.isScanned(plan, row, ends)
      const isRecorded = ranges.some((range) => Range.contains(range, oracle.keyOf(plan.index, row)))
      if (isRecorded !== isRead) throw new Violation(`${context} ${isRead ? "read" : "did not read"} ${show(row)}`)
    }
    expect([reads.everything, reads.tables.size]).toEqual([false, 0])
    return exit
  }

  /** Writes one random row to both, and returns its key. */
  write(): unknown {
    const { app, oracle, random } = this
    const old = oracle.rows.length > 0 && random.chance(0.6) ? random.pick(oracle.rows) : undefined
    const others = oracle.rows.filter((row) => row !== old)
    if (old === undefined) {
      const row = oracle.newRow()
      if (row === undefined) return undefined
      app.mutate(oracle.table["insert"](row))
      oracle.rows = [...oracle.rows, row]
      return row["id"]
    }
    if (random.chance(0.5)) {
      app.mutate(oracle.table["delete"](old["id"]))
      oracle.rows = others
    } else {
      const row = { ...oracle.row(), id: old["id"] }
      app.mutate(oracle.table["replace"](old["id"], row))
      oracle.rows = [...others, row]
    }
    return old["id"]
  }

  describe(plan: Plan): string {
    return `${show(plan)} of ${show(this.oracle.rows)}`
  }
}

const success = <A>(exit: Exit.Exit<A, any>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw new Error(String(exit.cause))
}

const expectRows = (rows: ReadonlyArray<object>, expected: ReadonlyArray<Row>, context: string): void => {
  const found = rows.map((row) => ({ ...row }))
  if (!Equal.equals(found, expected)) expect(show(found), context).toBe(show(expected))
}

/** Every kind of query returns what filtering and sorting returns, and records what it read. */
export const plans = (random: Random, database: Database["Service"]): void => {
  const table = new RandomTable(random, database, random.int(30))
  const { app, oracle } = table
  for (let i = 0; i < 10; i++) {
    const plan = oracle.plan()
    const query = oracle.query(plan)
    const context = table.describe(plan)
    const upTo = (max: number) => oracle.take(plan, Math.min(max, plan.limit ?? max))

    const all = oracle.take(plan, plan.limit)
    expectRows(success(table.read(query, plan, all, context)), all.rows, context)
    expect(success(table.read(query["count"], plan, all, `count ${context}`)), context).toBe(all.rows.length)
    const one = upTo(1)
    expect(success(table.read(query["exists"], plan, one, `exists ${context}`))).toBe(one.rows.length > 0)
    const first = success(table.read(query["first"], plan, one, `first ${context}`))
    expectRows(Option.toArray(first), one.rows, `first ${context}`)
    const two = upTo(2)
    const unique = table.read(query["unique"], plan, two, `unique ${context}`)
    expect(Exit.isFailure(unique)).toBe(two.rows.length > 1)
    const count = 1 + random.int(5)
    const taken = query["stream"].pipe(Stream.take(count), Stream.runCollect)
    expectRows(success(table.read(taken, plan, upTo(count), `stream ${context}`)), upTo(count).rows, context)
  }
  const rows = random.array(random.int(8), () => oracle.row())
  const found = app.query<ReadonlyArray<Option.Option<object>>, any>(
    oracle.table["getMany"](rows.map((row) => row["id"]))
  )
  const known = rows.map((row) => oracle.rows.find((other) => oracle.sameKey(row, other)))
  expect(found.map(Option.isSome)).toEqual(known.map((row) => row !== undefined))
  const kept = known.filter((row) => row !== undefined)
  expectRows(found.flatMap(Option.toArray), kept, "getMany")
}

/**
 * Each page continues where the last one ended, whatever was written or filtered meanwhile; fixed pages stay adjacent.
 */
export const pages = (random: Random, database: Database["Service"]): void => {
  const table = new RandomTable(random, database, random.int(40))
  const { oracle } = table
  const plan: Plan = { ...oracle.plan(), limit: random.chance(0.2) ? 1 + random.int(5) : undefined, filter: undefined }
  const filters = random.chance(0.5)
  const untouched = new Set(oracle.take(plan, undefined).rows)
  const seen: Array<Row> = []
  const fixed: Array<PageEnds & { readonly cursors: { readonly after: string | undefined; readonly until: string } }> =
    []
  let cursor: string | undefined
  let after: Row | undefined
  do {
    const filtered: Plan = { ...plan, filter: filters ? oracle.plan().filter : undefined }
    const count = 1 + random.int(6)
    const size = Math.min(count, plan.limit ?? count)
    const context = `page of ${count} after ${show(after)} ${table.describe(plan)}`
    const expected = oracle.take(filtered, size + 1, { after })
    const page = success(
      table.read(oracle.query(filtered)["page"]({ size: count, after: cursor }), filtered, expected, context, { after })
    )
    expectRows(page.items, expected.rows.slice(0, size), context)
    expect(page.next !== null, context).toBe(expected.rows.length > size)
    seen.push(...page.items)
    const until = expected.rows[size - 1]
    if (page.next !== null) fixed.push({ after, until, cursors: { after: cursor, until: page.next } })
    cursor = page.next ?? undefined
    after = until
    for (let i = random.int(4); i > 0; i--) {
      const id = table.write()
      for (const row of untouched) if (Equal.equals(row["id"], id)) untouched.delete(row)
    }
  } while (cursor !== undefined)

  for (const { cursors, ...ends } of fixed) {
    const context = `page between ${show(ends)} ${table.describe(plan)}`
    const expected = oracle.take(plan, undefined, ends)
    const query = oracle.query(plan)["page"]({ size: 2, ...cursors })
    const page = success(table.read(query, plan, expected, context, ends))
    expectRows(page.items, expected.rows, context)
    expect(page.next).toBe(cursors.until)
  }
  if (filters) return
  for (const row of untouched) {
    expect(seen.filter((other) => Equal.equals(other["id"], row["id"])).length, show(row)).toBe(1)
  }
}
