/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Table } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import type { Database } from "../../src/services/Database.ts"
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
      statements.push(sql.split(" ")[0]!.toUpperCase())
      return run(sql, ...args)
    }
  const database: Database["Service"] = {
    ...real,
    all: note(real.all.bind(real)),
    run: note(real.run.bind(real)),
    iterate: note(real.iterate.bind(real))
  }
  const harness = new StorageHarness(database, [accounts])
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

describe("what a transaction has read by key, it does not read again to write it", () => {
  const transfer = Effect.gen(function* () {
    const from = yield* accounts.get("a")
    const to = yield* accounts.get("b")
    yield* accounts.patch("a", { balance: from.balance - 5 })
    yield* accounts.patch("b", { balance: to.balance + 5 })
  })

  it("get, get, patch, patch reads two rows", () => {
    const { during, harness } = counted()
    // The first transaction also looks whether there are triggers.
    harness.mutate(transfer)
    expect(during(() => harness.mutate(transfer))).toEqual(["SELECT", "SELECT", "UPDATE", "UPDATE"])
    expect(balances(harness)).toEqual([0, 30])
  })

  it("a row that was written is read again", () => {
    const { during, harness } = counted()
    harness.mutate(transfer)
    const twice = Effect.gen(function* () {
      const { balance } = yield* accounts.get("a")
      yield* accounts.patch("a", { balance: balance + 1 })
      const changed = yield* accounts.get("a")
      yield* accounts.patch("a", { balance: changed.balance + 1 })
    })
    expect(during(() => harness.mutate(twice))).toEqual(["SELECT", "UPDATE", "SELECT", "UPDATE"])
    expect(balances(harness)).toEqual([7, 25])
  })

  it("raw SQL and a rolled back part in between are seen", () => {
    const { harness } = counted()
    const sql = Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(sql`UPDATE accounts SET balance = 100`))
    const seen = harness.mutate(
      Effect.gen(function* () {
        yield* accounts.get("a")
        yield* sql
        const raw = yield* accounts.get("a")
        yield* accounts
          .patch("a", { balance: 1 })
          .pipe(Effect.andThen(Effect.fail("no")), Table.atomically, Effect.ignore)
        const back = yield* accounts.get("a")
        return [raw.balance, back.balance]
      })
    )
    expect(seen).toEqual([100, 100])
  })

  it("a trigger may change what was read: then it is read again", () => {
    const { harness } = counted()
    harness.database.run(
      "CREATE TRIGGER doubled AFTER UPDATE ON accounts WHEN new.id = 'b' BEGIN UPDATE accounts SET balance = 1000 WHERE id = 'a'; END",
      []
    )
    const seen = harness.mutate(
      Effect.gen(function* () {
        yield* accounts.get("a")
        yield* accounts.patch("b", { balance: 1 })
        return (yield* accounts.get("a")).balance
      })
    )
    expect(seen).toBe(1000)
  })
})
