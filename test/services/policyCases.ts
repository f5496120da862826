/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Auth } from "effect-dormouse"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { StorageHarness } from "../contract/StorageHarness.ts"
import type { Random } from "../random.ts"
import { columns, marker, type PolicyOracle, type Row, type TableName, users, valueOf } from "./policyOracle.ts"

/** Random callers, rows and reads for the tables of the oracle, and what a caller must be told. */

/** Callers with random claims. */
export const identities = (random: Random): ReadonlyArray<Auth.Identity> => [
  { subject: null, claims: {} },
  ...users.map((subject) => ({
    subject,
    claims: {
      of: {
        ...(random.chance(0.5) && { admin: random.chance(0.5) ? true : 1 }),
        ...(random.chance(0.7) && { level: random.chance(0.8) ? random.int(4) : "1" }),
        ...(random.chance(0.7) && {
          scopes: random.chance(0.8) ? random.array(random.int(3), () => valueOf(random, "text")) : "x"
        }),
        ...(random.chance(0.1) && { scopes: ["x", null] })
      }
    }
  }))
]

/** The keys of rows. */
export const keys: Record<TableName, ReadonlyArray<string>> = {
  items: ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"],
  grants: ["g0", "g1", "g2", "g3", "g4", "g5"],
  links: ["l0", "l1", "l2", "l3"]
}

/** A random row. */
export const randomRow = (random: Random, table: TableName, id: string): Row => {
  switch (table) {
    case "items":
      return {
        id,
        a: valueOf(random, "text"),
        n: random.chance(0.2) ? null : valueOf(random, "int"),
        ...(random.chance(0.7) && { o: valueOf(random, "text") }),
        f: random.chance(0.5),
        s: valueOf(random, "text"),
        m: marker(random),
        h: marker(random)
      }
    case "grants":
      return {
        id,
        user: random.pick(users),
        scope: random.chance(0.2) ? null : valueOf(random, "text"),
        level: random.int(4)
      }
    case "links":
      return {
        id,
        item: random.pick(keys.items),
        owner: random.chance(0.2) ? null : random.pick(users),
        m: marker(random)
      }
  }
}

/** What a caller is told: the value, or the whole error. */
export const told = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return { value: Option.isOption(exit.value) ? Option.getOrNull(exit.value) : exit.value }
  const failure = Cause.findErrorOption(exit.cause)
  if (Option.isNone(failure)) throw new Error(Cause.pretty(exit.cause))
  const error: any = failure.value
  if (error._tag === "RowNotFound") return { missing: error.key }
  const { _tag, ...reason } = error.reason
  return { error: _tag, ...Object.fromEntries(Object.entries(reason).filter(([name]) => !isOfError.has(name))) }
}
const isOfError = new Set(["message", "stack", "name", "cause"])

/** What a caller is told whom the policies deny an operation. */
export const deniedAs = (table: TableName, operation: string) => ({ error: "PolicyDenied", table, operation })

/** A database that has what the caller may read, and nothing else. */
export const databaseFor = (
  oracle: PolicyOracle,
  me: Auth.Identity
): { readonly app: StorageHarness; readonly close: () => void } => {
  const sqlite = new DatabaseSync(":memory:")
  const app = new StorageHarness(MemoryDatabase.make(sqlite), Object.values(oracle.plain))
  app.comparesRuns = false
  for (const table of ["items", "grants", "links"] as const) {
    const rows = [...oracle.rows[table].values()]
      .filter((row) => oracle.allows(table, "read", row, me))
      .map((row) => oracle.shown(table, row, me))
    app.mutate(oracle.plain[table].insertMany(rows))
  }
  return { app, close: () => sqlite.close() }
}

/** A way to read a table. `on` takes that of the oracle, or the plain one. */
export interface RandomRead {
  readonly table: TableName
  readonly index: string | undefined
  readonly on: (table: any) => any
}

/** A random way to read a table, over the tables of either database. */
export const randomRead = (random: Random, indexes: PolicyOracle["indexes"]): RandomRead => {
  const table = random.pick<TableName>(["items", "items", "items", "links", "grants"])
  const kind = random.int(10)
  const id = random.pick(keys[table])
  if (kind === 0) return { table, index: undefined, on: (of) => of.get(id) }
  if (kind === 1) {
    const some = random.array(4, () => random.pick(keys[table]))
    return {
      table,
      index: undefined,
      on: (of) => Effect.map(of.getMany(some), (found: any) => found.map(Option.getOrNull))
    }
  }
  const index = random.chance(0.2) ? undefined : random.pick(Object.keys(indexes[table]))
  const named = index === undefined ? ["id"] : [...indexes[table][index]!, "id"]
  const steps: Array<(query: any) => any> = []
  const fixed = random.int(named.length)
  const value = (column: string) =>
    column === "id"
      ? id
      : column === "o" && random.chance(0.1)
        ? undefined
        : valueOf(random, columns[table][column] ?? "text")
  for (const column of named.slice(0, fixed)) {
    const given = value(column)
    steps.push((query) => query.eq(column, given))
  }
  if (random.chance(0.3)) {
    const column = named[fixed]!
    const [method, given] = [random.pick(["gt", "gte", "lt", "lte"]), value(column)]
    steps.push((query) => query[method](column, given))
  }
  if (random.chance(0.3)) steps.push((query) => query.descending)
  if (random.chance(0.3)) {
    const count = random.int(4)
    steps.push((query) => query.take(count))
  }
  if (random.chance(0.2)) {
    const [column, given] = [random.pick(Object.keys(columns[table])), valueOf(random, "text")]
    steps.push((query) => query.filter((row: any) => row[column] !== given))
  }
  const query = (of: any) => steps.reduce((query, step) => step(query), of.query(index))
  const size = 1 + random.int(3)
  const ends: ReadonlyArray<(query: any) => any> = [
    (query) => query,
    (query) => query,
    (query) => query.count,
    (query) => query.exists,
    (query) => query.first,
    (query) => query.unique,
    (query) => Stream.runCollect(query.stream),
    (query) => Stream.runCollect(Stream.take(query.stream, size)),
    (query) => walk(query, size)
  ]
  const end = random.pick(ends)
  return { table, index, on: (of) => end(query(of)) }
}

/** All pages of a query, with their cursors. */
const walk = (query: any, size: number): Effect.Effect<unknown, unknown, any> =>
  Effect.gen(function* () {
    const pages: Array<unknown> = []
    let after: string | null = null
    do {
      const page: any = yield* query.page({ size, after })
      pages.push(page)
      after = page.next
    } while (after !== null && pages.length < 20)
    return pages
  })
