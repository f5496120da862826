import { DatabaseSync } from "node:sqlite"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Auth, Storage } from "effect-dormouse"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { open, type PolicyGuard } from "../../src/services/storage/PolicyPort.ts"
import { ReadRecorder, touches } from "../../src/services/storage/ReadSet.ts"
import { RowCache } from "../../src/services/storage/RowCache.ts"
import { policies } from "../contract/policyTables.ts"
import { StorageHarness } from "../contract/StorageHarness.ts"
import { forAll, type Random, Violation } from "../random.ts"
import { columns, PolicyOracle, type Row, type TableName, users, valueOf } from "./policyOracle.ts"

const identities = (random: Random): ReadonlyArray<Auth.Identity> => [
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

const keys: Record<TableName, ReadonlyArray<string>> = {
  items: ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"],
  grants: ["g0", "g1", "g2", "g3", "g4", "g5"],
  links: ["l0", "l1", "l2", "l3"]
}

const randomRow = (random: Random, table: TableName, id: string): Row => {
  switch (table) {
    case "items":
      return {
        id,
        a: valueOf(random, "text"),
        n: random.chance(0.2) ? null : valueOf(random, "int"),
        ...(random.chance(0.7) && { o: valueOf(random, "text") }),
        f: random.chance(0.5),
        s: valueOf(random, "text")
      }
    case "grants":
      return {
        id,
        user: random.pick(users),
        scope: random.chance(0.2) ? null : valueOf(random, "text"),
        level: random.int(4)
      }
    case "links":
      return { id, item: random.pick(keys.items), owner: random.chance(0.2) ? null : random.pick(users) }
  }
}

/** What differs: the answer of the database, and the one that it must give. */
const mustBe = (what: string, actual: unknown, expected: unknown): void => {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (left !== right) throw new Violation(`${what}: got ${left} instead of ${right}`)
}

/** What a caller is told: the value, or the whole error. */
const told = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return { value: Option.isOption(exit.value) ? Option.getOrNull(exit.value) : exit.value }
  const failure = Cause.findErrorOption(exit.cause)
  if (Option.isNone(failure)) throw new Error(Cause.pretty(exit.cause))
  const error: any = failure.value
  if (error._tag === "RowNotFound") return { missing: error.key }
  const { _tag, ...reason } = error.reason
  return { error: _tag, ...Object.fromEntries(Object.entries(reason).filter(([name]) => !isOfError.has(name))) }
}
const isOfError = new Set(["message", "stack", "name", "cause"])

const deniedAs = (table: TableName, operation: string) => ({ error: "PolicyDenied", table, operation })

class World {
  readonly random: Random
  readonly oracle: PolicyOracle
  readonly app: StorageHarness
  readonly callers: ReadonlyArray<Auth.Identity>
  private readonly sqlite = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })

  constructor(random: Random) {
    this.random = random
    this.oracle = new PolicyOracle(random)
    const database = MemoryDatabase.make(this.sqlite)
    this.app = new StorageHarness(database, Object.values(this.oracle.tables), {}, true, this.oracle.policies)
    this.app.comparesRuns = random.chance(0.2)
    this.callers = identities(random)
    for (const [table, count] of [
      ["grants", 5],
      ["items", 8],
      ["links", 3]
    ] as const) {
      for (const id of random.shuffle(keys[table]).slice(0, count)) this.setUp(table, randomRow(random, table, id))
    }
  }

  close(): void {
    this.sqlite.close()
  }

  /** Writes a row past the policies, if nothing else refuses it. */
  private setUp(table: TableName, row: Row): void {
    const { exit } = this.app.mutation(Storage.unrestricted(this.oracle.tables[table].upsert(row)))
    if (Exit.isSuccess(exit)) this.oracle.rows[table].set(row["id"], row)
  }

  /** A database that has what the caller may read, and nothing else. */
  private reduced(me: Auth.Identity): { readonly app: StorageHarness; readonly close: () => void } {
    const sqlite = new DatabaseSync(":memory:")
    const app = new StorageHarness(MemoryDatabase.make(sqlite), Object.values(this.oracle.plain))
    app.comparesRuns = false
    for (const table of ["items", "grants", "links"] as const) {
      const rows = [...this.oracle.rows[table].values()]
        .filter((row) => this.oracle.allows(table, "read", row, me))
        .map((row) => this.oracle.shown(table, row, me))
      app.mutate(this.oracle.plain[table].insertMany(rows))
    }
    return { app, close: () => sqlite.close() }
  }

  /** A random way to read a table, over the tables of either database. */
  private read(): { readonly table: TableName; readonly index: string | undefined; readonly on: (table: any) => any } {
    const { random } = this
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
    const index = random.chance(0.2) ? undefined : random.pick(Object.keys(this.oracle.indexes[table]))
    const named = index === undefined ? ["id"] : [...this.oracle.indexes[table][index]!, "id"]
    const steps: Array<(query: any) => any> = []
    const fixed = random.int(named.length)
    const value = (column: string) =>
      column === "id" ? id : column === "o" && random.chance(0.1) ? undefined : valueOf(random, columns[table][column]!)
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

  /** The caller is told what it would be told of a database without all that it may not read. */
  readsAgree(cases: number): void {
    const { app, oracle, random } = this
    for (const me of random.shuffle(this.callers).slice(0, 2)) {
      const reduced = this.reduced(me)
      app.caller = me
      for (let i = 0; i < cases; i++) {
        const { index, on, table } = this.read()
        const actual = told(app.run(on(oracle.tables[table])).exit)
        const isRefused = oracle.isRefused(table, index, me)
        const refusal = JSON.stringify(deniedAs(table, "read"))
        const context = `${me.subject} reads ${table} by ${index}`
        if (isRefused === true) mustBe(context, actual, deniedAs(table, "read"))
        else if (isRefused === false || JSON.stringify(actual) !== refusal) {
          mustBe(context, actual, told(reduced.app.run(on(oracle.plain[table])).exit))
        }
      }
      reduced.close()
    }
  }

  /** A result changes only if a write affects what was recorded, and callers differ only if the caller was recorded. */
  readsAreRecorded(cases: number): void {
    const { app, oracle, random } = this
    const watched = random.array(cases, () => {
      const [me, { on, table }] = [random.pick(this.callers), this.read()]
      const query = on(oracle.tables[table])
      app.caller = me
      return { me, query, ...this.once(query) }
    })
    for (const { answer, query, reads } of watched) {
      if (reads.identity) continue
      for (const other of this.callers) {
        app.caller = other
        mustBe("the answer for another caller", this.once(query).answer, answer)
      }
    }
    const table = random.pick<TableName>(["grants", "grants", "items", "links"])
    const id = random.pick(keys[table])
    const change = random.chance(0.3)
      ? oracle.tables[table].delete(id)
      : oracle.tables[table].upsert(randomRow(random, table, id))
    const { exit, writes } = app.mutation(Storage.unrestricted(change))
    if (Exit.isFailure(exit)) return
    if (exit.value === true) oracle.rows[table].delete(id)
    else if (exit.value !== false) oracle.rows[table].set(id, { ...(exit.value as Row) })
    for (const { answer, me, query, reads } of watched) {
      app.caller = me
      if (touches(reads, writes)) continue
      mustBe(`${me.subject} after an unrelated write`, this.once(query).answer, answer)
    }
  }

  private once(query: any) {
    const { exit, reads } = this.app.runOnce(query)
    return { answer: told(exit), reads }
  }

  /** Writes do what the policies say, and their errors tell nothing else. */
  writesAgree(cases: number): void {
    const { app, random } = this
    for (let i = 0; i < cases; i++) {
      const me = random.pick(this.callers)
      app.caller = me
      const table = random.pick<TableName>(["items", "items", "links"])
      const id = random.pick(keys[table])
      const kind = random.int(4)
      if (kind < 2) this.insert(table, randomRow(random, table, id), me)
      else if (kind === 2) this.patch(table, id, me)
      else this.delete(table, id, me)
    }
  }

  private expectOneOf(what: string, actual: unknown, expected: ReadonlyArray<unknown>): void {
    if (expected.some((one) => JSON.stringify(one) === JSON.stringify(actual))) return
    mustBe(what, actual, expected[0])
  }

  /** What the write of a row conflicts with. */
  private conflicts(
    table: TableName,
    row: Row,
    operation: "insert" | "update",
    me: Auth.Identity
  ): ReadonlyArray<unknown> {
    const { oracle } = this
    const found: Array<unknown> = []
    for (const other of oracle.rows[table].values()) {
      const columns = [...(operation === "insert" ? ["id"] : []), ...(table === "items" ? oracle.uniqueColumns : [])]
      for (const column of columns) {
        if (operation === "update" && other["id"] === row["id"]) continue
        if (row[column] === undefined || other[column] !== row[column]) continue
        const isVisible = oracle.isVisible(table, other, column, me)
        const index = column === "id" ? "id" : "unique"
        found.push(isVisible ? { error: "UniqueViolation", table, index } : deniedAs(table, operation))
      }
    }
    return found
  }

  private isMissing(table: TableName, row: Row, me: Auth.Identity): boolean {
    if (table !== "links") return false
    const target = this.oracle.rows.items.get(row["item"])
    return target === undefined || !this.oracle.allows("items", "read", target, me)
  }

  private readonly missing = { error: "ReferenceViolation", table: "links", column: "item", action: "missing" }

  private insert(table: TableName, given: Row, me: Auth.Identity): void {
    const { app, oracle } = this
    const what = `${me.subject} inserts ${JSON.stringify(given)}`
    const row = table === "items" && oracle.setsSecret ? { ...given, s: me.subject } : given
    const actual = told(app.mutation(oracle.tables[table].insert(given)).exit)
    if (row["s"] === null || !oracle.allows(table, "insert", row, me))
      return mustBe(what, actual, deniedAs(table, "insert"))
    if (this.isMissing(table, row, me)) return mustBe(what, actual, this.missing)
    const conflicts = this.conflicts(table, row, "insert", me)
    if (conflicts.length > 0) return this.expectOneOf(what, actual, conflicts)
    oracle.rows[table].set(row["id"], row)
    mustBe(what, ordered(actual), ordered({ value: oracle.shown(table, row, me) }))
  }

  private patch(table: TableName, id: string, me: Auth.Identity): void {
    const { app, oracle, random } = this
    const { id: _, ...all } = randomRow(random, table, id)
    const changes = Object.fromEntries(Object.entries(all).filter(() => random.chance(0.4)))
    const what = `${me.subject} patches ${id} with ${JSON.stringify(changes)}`
    const old = oracle.rows[table].get(id)
    const actual = told(app.mutation(oracle.tables[table].patch(id, changes)).exit)
    if (old === undefined || !oracle.allows(table, "read", old, me)) return mustBe(what, actual, { missing: id })
    const next: Row = { ...old, ...changes }
    const hidden = oracle.hidden(table, old, me)
    const setsSecret =
      table === "items" && oracle.setsSecret && "s" in changes && (changes["s"] !== old["s"] || hidden.includes("s"))
    if (!oracle.allows(table, "update", old, me) || !oracle.allows(table, "update", next, me) || setsSecret) {
      return mustBe(what, actual, deniedAs(table, "update"))
    }
    if (next["item"] !== old["item"] && this.isMissing(table, next, me)) return mustBe(what, actual, this.missing)
    const isChanged = Object.entries(changes).some(([name, value]) => old[name] !== value)
    const conflicts = isChanged ? this.conflicts(table, next, "update", me) : []
    if (conflicts.length > 0) return this.expectOneOf(what, actual, conflicts)
    oracle.rows[table].set(id, next)
    mustBe(what, ordered(actual), ordered({ value: oracle.shown(table, next, me) }))
  }

  private delete(table: TableName, id: string, me: Auth.Identity): void {
    const { app, oracle } = this
    const what = `${me.subject} deletes ${id}`
    const old = oracle.rows[table].get(id)
    const actual = told(app.mutation(oracle.tables[table].delete(id)).exit)
    if (old === undefined || !oracle.allows(table, "read", old, me)) return mustBe(what, actual, { value: false })
    if (!oracle.allows(table, "delete", old, me)) return mustBe(what, actual, deniedAs(table, "delete"))
    const links = table === "items" ? [...oracle.rows.links.values()].filter(({ item }) => item === id) : []
    if (links.some((link) => oracle.isVisible("links", link, "item", me))) {
      return mustBe(what, actual, { error: "ReferenceViolation", table: "links", column: "item", action: "restrict" })
    }
    if (links.length > 0) return mustBe(what, actual, deniedAs(table, "delete"))
    oracle.rows[table].delete(id)
    mustBe(what, actual, { value: true })
  }
}

/** The same with the properties of rows in one order. */
const ordered = (value: any): unknown =>
  "value" in value && typeof value.value === "object" && value.value !== null
    ? { value: Object.entries(value.value).toSorted(([a], [b]) => (a < b ? -1 : 1)) }
    : value

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

/** Cases of one world: 20 reads for each of two callers, twice, 10 writes, and the records of 8 reads, twice. */
const casesOfWorld = 4 * 20 + 10 + 2 * 8

const check = (random: Random): void => {
  const world = new World(random)
  try {
    world.readsAgree(20)
    world.readsAreRecorded(8)
    world.writesAgree(10)
    world.readsAreRecorded(8)
    world.readsAgree(20)
  } finally {
    world.close()
  }
}

describe("random policies", () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it("P1 P2 P3 P4 P6: a caller is told what a database without all that it may not read would tell", () => {
    forAll(Math.ceil(10_000 / casesOfWorld), check)
  })

  describe("controls: the same check fails if", () => {
    const mustFail = () => expect(() => forAll(95, check)).toThrow(Violation)
    /** What all guards inherit. Nothing of a storage is used. */
    const guards = (): PolicyGuard => {
      const opened = open(policies, { table: (table: object) => ({ table }) } as never)
      return Object.getPrototypeOf(opened?.guard({} as never, () => ({ subject: null, claims: {} })))
    }

    it("P1: rows that are read by key are not checked", () => {
      vi.spyOn(guards(), "canRead").mockReturnValue(true)
      mustFail()
    })

    it("P1: scans are not restricted", () => {
      vi.spyOn(guards(), "access").mockReturnValue(true)
      mustFail()
    })

    it("P1: the rest of a condition that SQL does not decide is not checked", () => {
      const { access } = guards()
      vi.spyOn(guards(), "access").mockImplementation(function (this: PolicyGuard, scan, equal) {
        const found: ReturnType<PolicyGuard["access"]> = access.call(this, scan, equal)
        return typeof found === "boolean" ? found : { where: found.where, check: undefined }
      })
      mustFail()
    })

    it("P1: a conflict with a row that may not be read is told", () => {
      vi.spyOn(guards(), "checkConflict").mockReturnValue(undefined)
      mustFail()
    })

    it("P1: a restriction by a row that may not be read is told", () => {
      vi.spyOn(guards(), "isVisible").mockReturnValue(true)
      mustFail()
    })

    it("P2: inserts are not checked", () => {
      vi.spyOn(guards(), "checkInsert").mockReturnValue(undefined)
      mustFail()
    })

    it("P2: rows are not checked before they are changed", () => {
      vi.spyOn(guards(), "checkBefore").mockReturnValue(undefined)
      mustFail()
    })

    it("P2: rows are not checked after they were changed", () => {
      vi.spyOn(guards(), "checkChange").mockReturnValue(undefined)
      mustFail()
    })

    it("P2: the server does not set its fields", () => {
      vi.spyOn(guards(), "withSet").mockImplementation((_, value) => value)
      mustFail()
    })

    it("P6: the row that a write returns is not masked", () => {
      vi.spyOn(guards(), "hidesFields").mockReturnValue(false)
      mustFail()
    })

    it("P4: the caller is not recorded", () => {
      vi.spyOn(ReadRecorder.prototype, "identity").mockImplementation(() => {})
      mustFail()
    })

    it("P4: the rows that conditions look up are not recorded", () => {
      const { range } = ReadRecorder.prototype
      vi.spyOn(ReadRecorder.prototype, "range").mockImplementation(function (this: ReadRecorder, table, index, read) {
        if (table !== "grants") range.call(this, table, index, read)
      })
      mustFail()
    })

    it("P4: an answer about another table is kept after a write", () => {
      const answers = new WeakMap<RowCache, Map<string, boolean>>()
      const of = (cache: RowCache) => {
        const known = answers.get(cache) ?? new Map<string, boolean>()
        answers.set(cache, known)
        return known
      }
      vi.spyOn(RowCache.prototype, "answer").mockImplementation(function (this: RowCache, statement) {
        return of(this).get(statement)
      })
      vi.spyOn(RowCache.prototype, "setAnswer").mockImplementation(function (this: RowCache, statement, answer) {
        of(this).set(statement, answer)
      })
      mustFail()
    })
  })
})
