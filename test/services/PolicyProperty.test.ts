import { DatabaseSync } from "node:sqlite"
import * as Exit from "effect/Exit"
import { type Auth, Storage } from "effect-dormouse"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import type { PolicyGuard } from "../../src/services/storage/PolicyPort.ts"
import { ReadRecorder, touches } from "../../src/services/storage/ReadSet.ts"
import { RowCache } from "../../src/services/storage/RowCache.ts"
import { StorageHarness } from "../contract/StorageHarness.ts"
import { forAll, type Random, Violation } from "../random.ts"
import { databaseFor, deniedAs, identities, keys, randomRead, randomRow, told } from "./policyCases.ts"
import { guards } from "./policyGuards.ts"
import { PolicyOracle, type Row, type TableName } from "./policyOracle.ts"

/** What differs: the answer of the database, and the one that it must give. */
const mustBe = (what: string, actual: unknown, expected: unknown): void => {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (left !== right) throw new Violation(`${what}: got ${left} instead of ${right}`)
}

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

  /** The caller is told what it would be told of a database without all that it may not read. */
  readsAgree(cases: number): void {
    const { app, oracle, random } = this
    for (const me of random.shuffle(this.callers).slice(0, 2)) {
      const reduced = databaseFor(oracle, me)
      app.caller = me
      for (let i = 0; i < cases; i++) {
        const { index, on, table } = randomRead(random, oracle.indexes)
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
      const [me, { on, table }] = [random.pick(this.callers), randomRead(random, oracle.indexes)]
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
    forAll(Math.ceil(7000 / casesOfWorld), check)
  })

  describe("controls: the same check fails if", () => {
    // Few worlds notice some of them: about three in a hundred.
    const mustFail = () => expect(() => forAll(500, check)).toThrow(Violation)
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
      vi.spyOn(guards(), "access").mockImplementation(function (this: PolicyGuard, ...[scan, equal]: any) {
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
      vi.spyOn(guards(), "withSet").mockImplementation((_: unknown, value: unknown) => value)
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
