import { env, runInDurableObject } from "cloudflare:test"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import { expect, it } from "vitest"
import * as CloudflareDatabase from "../../src/layers/cloudflare/Database.ts"
import { StorageHarness } from "./StorageHarness.ts"
import { suite } from "./storageSuite.ts"

suite("Storage in a Durable Object", (body) =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
    body(CloudflareDatabase.make(storage))
  ))

it("ST19: in a Durable Object rowsRead counts the rows that SQL reads, also those that it does not return", () =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) => {
    const database = CloudflareDatabase.make(storage)
    database.run("CREATE TABLE numbers (n INTEGER PRIMARY KEY)", [])
    for (let n = 0; n < 60; n++) database.run("INSERT INTO numbers VALUES (?)", [n])
    const app = new StorageHarness(database, [], { rowsRead: 50 })
    const run = (text: string) => SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>(text))
    expect(app.query(run("SELECT sum(n) AS n FROM numbers WHERE n < 10"))).toEqual([{ n: 45 }])
    for (const text of ["SELECT sum(n) AS n FROM numbers", "SELECT n FROM numbers WHERE n % 60 = 59"]) {
      expect(app.queryFailure(run(text)).reason.message).toMatch(/rowsRead/)
    }
    // The rows of one transaction are added up.
    const twice = Effect.andThen(
      run("SELECT sum(n) AS n FROM numbers WHERE n < 30"),
      run("SELECT sum(n) AS n FROM numbers WHERE n < 30")
    )
    expect(app.queryFailure(twice).reason.message).toMatch(/rowsRead/)
    // A write reads as well. What is refused is rolled back.
    for (const text of [
      "INSERT INTO numbers SELECT 1000 + sum(n) FROM numbers",
      "UPDATE numbers SET n = n + (SELECT sum(n) FROM numbers) WHERE n = 59 RETURNING n",
      "DELETE FROM numbers WHERE n % 60 = 59"
    ]) {
      expect(app.failure(run(text)).reason.message).toMatch(/rowsRead/)
    }
    expect(app.query(run("SELECT n FROM numbers WHERE n > 57"))).toEqual([{ n: 58 }, { n: 59 }])
    app.mutate(run("DELETE FROM numbers WHERE n = 59"))
    expect(app.query(run("SELECT n FROM numbers WHERE n > 57"))).toEqual([{ n: 58 }])
  }))
