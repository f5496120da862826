/// <reference types="node" />
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Database, Storage, Table, Transactor } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { StorageHarness } from "../contract/StorageHarness.ts"

class Account extends Model.Class<Account>("test/Account")({ id: Schema.String, balance: Schema.Int }) {}
const accounts = Table.make("accounts", Account, { key: "id", indexes: { byBalance: ["balance"] } })

/** A harness, and the statements that it runs. */
const counted = () => {
  const statements: Array<string> = []
  const real = MemoryDatabase.make(new DatabaseSync(":memory:", { enableForeignKeyConstraints: true }))
  const note =
    <Args extends ReadonlyArray<any>, A>(run: (sql: string, ...args: Args) => A) =>
    (sql: string, ...args: Args): A => {
      statements.push(/^\w+( json_group_array)?/.exec(sql)![0])
      return run(sql, ...args)
    }
  const database: Database.Database["Service"] = {
    ...real,
    all: note(real.all.bind(real)),
    run: note(real.run.bind(real)),
    iterate: note(real.iterate.bind(real))
  }
  const harness = new StorageHarness(database, [accounts])
  harness.comparesRuns = false
  harness.mutate(
    accounts.insertMany([
      { id: "a", balance: 10 },
      { id: "b", balance: 20 }
    ])
  )
  const during = (body: () => void) => {
    statements.length = 0
    body()
    return [...statements]
  }
  return { harness, during }
}

const balances = (harness: StorageHarness) =>
  harness.query(Effect.map(accounts.query(), (rows) => rows.map(({ balance }) => balance)))

const ids = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)
const rawUpdate = Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(sql`UPDATE accounts SET balance = 100`))

describe("what the object has read or written it does not read again", () => {
  const transfer = Effect.gen(function* () {
    const from = yield* accounts.get("a")
    const to = yield* accounts.get("b")
    yield* accounts.patch("a", { balance: from.balance - 5 })
    yield* accounts.patch("b", { balance: to.balance + 5 })
  })

  it("get, get, patch, patch of known rows writes only", () => {
    const { during, harness } = counted()
    harness.mutate(transfer)
    expect(during(() => harness.mutate(transfer))).toEqual(["UPDATE", "UPDATE"])
    expect(balances(harness)).toEqual([0, 30])
  })

  it("a list that was read before is read by its keys", () => {
    const { during, harness } = counted()
    const list = accounts.query("byBalance")
    harness.query(list)
    harness.mutate(accounts.insert({ id: "c", balance: 15 }))
    harness.mutate(transfer)
    const statements = during(() => expect(ids(harness.query(list))).toEqual(["a", "c", "b"]))
    expect(statements).toEqual(["SELECT json_group_array"])
    // The control: a list that was not read before.
    expect(during(() => harness.query(list.descending))).toEqual(["SELECT"])
  })

  it("raw SQL and a part that was rolled back are seen", () => {
    const { harness } = counted()
    const seen = harness.mutate(
      Effect.gen(function* () {
        yield* accounts.get("a")
        yield* rawUpdate
        const raw = yield* accounts.get("a")
        yield* accounts
          .patch("a", { balance: 1 })
          .pipe(Effect.andThen(Effect.fail("no")), Table.atomically, Effect.ignore)
        const back = yield* accounts.get("a")
        return [raw.balance, back.balance]
      })
    )
    expect(seen).toEqual([100, 100])
    expect(balances(harness)).toEqual([100, 100])
  })

  for (const [what, write] of [
    ["patches", accounts.patch("a", { balance: 1 })],
    ["inserts", accounts.insert({ id: "c", balance: 1 })],
    ["deletes", accounts.delete("a")],
    ["raw SQL", rawUpdate]
  ] as const) {
    it(`what a mutation that failed had written and read is forgotten: ${what}`, () => {
      const { harness } = counted()
      const all = accounts.query()
      const before = harness.query(all)
      const failing = Effect.gen(function* () {
        yield* write
        yield* all
        yield* Effect.ignore(accounts.get("a"))
        return yield* Effect.fail("no")
      })
      expect(harness.mutation(failing).exit._tag).toBe("Failure")
      expect(harness.query(all)).toEqual(before)
      expect(harness.query(Effect.map(accounts.get("a"), ({ balance }) => balance))).toBe(10)
      expect(harness.query(Effect.exit(accounts.get("c")))._tag).toBe("Failure")
    })
  }

  it("a trigger may change what was read: then it is read again", () => {
    const { harness } = counted()
    const trigger = Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.orDie(
        sql`CREATE TRIGGER doubled AFTER UPDATE ON accounts WHEN new.id = 'b'
            BEGIN UPDATE accounts SET balance = 1000 WHERE id = 'a'; END`
      )
    )
    harness.mutate(Effect.andThen(accounts.get("a"), trigger))
    const seen = harness.mutate(
      Effect.gen(function* () {
        yield* accounts.get("a")
        yield* accounts.patch("b", { balance: 1 })
        return (yield* accounts.get("a")).balance
      })
    )
    expect(seen).toBe(1000)
    harness.mutate(Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(sql`DROP TRIGGER doubled`)))
    harness.mutate(accounts.patch("b", { balance: 2 }))
    expect(balances(harness)).toEqual([1000, 2])
  })

  it("what another connection commits to a file is seen", () => {
    const folder = mkdtempSync(join(tmpdir(), "dormouse-rows-"))
    try {
      const path = join(folder, "rows.sqlite")
      const program = Effect.gen(function* () {
        const { read, write } = yield* Transactor
        yield* write(accounts.insert({ id: "a", balance: 1 }))
        const other = new DatabaseSync(path)
        other.exec("UPDATE accounts SET balance = 2")
        other.close()
        return (yield* read(accounts.get("a"))).balance
      })
      const storage = Storage.layer({ tables: [accounts] }).pipe(Layer.provide(Database.layerMemory({ path })))
      expect(Effect.runSync(program.pipe(Effect.provide(storage)))).toBe(2)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  /** A file that another connection writes, whenever the database begins a transaction. */
  const withOther = (whenBegins: (other: DatabaseSync) => void, body: (harness: StorageHarness) => void) => {
    const folder = mkdtempSync(join(tmpdir(), "dormouse-rows-"))
    const path = join(folder, "rows.sqlite")
    const own = new DatabaseSync(path)
    const other = new DatabaseSync(path)
    try {
      own.exec("PRAGMA journal_mode = WAL")
      const version = own.prepare("PRAGMA data_version")
      const real = MemoryDatabase.make(own)
      const harness = new StorageHarness(
        {
          ...real,
          foreignWrites: () => Number(version.get()!["data_version"]),
          transaction: (run) => {
            if (!own.isTransaction) whenBegins(other)
            return real.transaction(run)
          }
        },
        [accounts]
      )
      harness.comparesRuns = false
      body(harness)
    } finally {
      own.close()
      other.close()
      rmSync(folder, { recursive: true })
    }
  }

  it("what another connection commits to a file just before a transaction begins is seen by it", () => {
    let next: number | undefined
    const write = (other: DatabaseSync) => {
      if (next !== undefined) other.exec(`UPDATE accounts SET balance = ${next}`)
    }
    withOther(write, (harness) => {
      harness.mutate(accounts.insert({ id: "a", balance: 1 }))
      expect(harness.mutate(accounts.get("a")).balance).toBe(1)
      next = 100
      const add = Effect.flatMap(accounts.get("a"), ({ balance }) => accounts.patch("a", { balance: balance + 1 }))
      expect(harness.mutate(add).balance).toBe(101)
      next = undefined
      expect(harness.mutate(accounts.get("a")).balance).toBe(101)
    })
  })

  it("keys of any text come back as they are", () => {
    const { harness } = counted()
    const keys = ["", " ", "\u0000", "a\u0000b", '"', "\\", "\u2028", "é", "😀", "null", "1"]
    harness.mutate(accounts.insertMany(keys.map((id, balance) => ({ id, balance: 1000 + balance }))))
    const list = accounts.query("byBalance").gte("balance", 1000)
    expect(ids(harness.query(list))).toEqual(keys)
    expect(ids(harness.query(list))).toEqual(keys)
  })

  it("only as much is known as was said: the oldest rows are read again", () => {
    const { during, harness } = counted()
    for (let i = 0; i < 3000; i++) harness.mutate(accounts.insert({ id: `n${i}`, balance: i }))
    expect(during(() => harness.query(accounts.get("n2999")))).toEqual([])
    expect(during(() => harness.query(accounts.get("n0")))).toEqual(["SELECT"])
  })
})
