import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Migration, Mutation, Query, Table } from "effect-dormouse"
import { expect, it } from "vitest"
import { anonymous } from "../../src/contract/Auth.ts"
import { request } from "../deployment/Deployment.ts"
import { KeepingSocket, makeEngine } from "../engine/EngineHarness.ts"

/** Migrations of rows in the engine of an object: what callers, sockets and reactors see until they have ended. */

class NumbersApi extends Api.make(
  Mutation.make("add", { payload: { count: Schema.Int } }),
  Query.make("sum", { payload: {}, success: Schema.Int }),
  Mutation.make("react", { payload: { sum: Schema.Int } })
) {}

class Old extends Model.Class<Old>("test/migrations/Old")({ id: Schema.Int, n: Schema.String }) {}
class New extends Model.Class<New>("test/migrations/New")({
  id: Schema.Int,
  n: Schema.String,
  m: Schema.optionalKey(Schema.Int)
}) {}
class Reaction extends Model.Class<Reaction>("test/migrations/Reaction")({ id: Schema.Int }) {}
const old = Table.make("numbers", Old, { key: "id" })
const table = Table.make("numbers", New, { key: "id" })
const reactions = Table.make("reactions", Reaction, { key: "id" })
const reactor = App.react(NumbersApi, {
  name: "sum",
  query: "sum",
  queryPayload: {},
  mutation: "react",
  mutationPayload: (sum) => ({ sum })
})

const before = App.make({
  api: NumbersApi,
  tables: [old, reactions],
  handlers: NumbersApi.toLayer({
    add: ({ count }) => Effect.orDie(old.insertMany(Array.from({ length: count }, (_, id) => ({ id, n: "1" })))),
    sum: () => Effect.succeed(0),
    react: () => Effect.void
  })
})

/** The next version: it fills `m`. A row may fail. */
const afterWith = (concurrent: boolean, failsAt?: number, reactors: ReadonlyArray<typeof reactor> = []) =>
  App.make({
    api: NumbersApi,
    tables: [table, reactions],
    reactors,
    migrations: [
      Migration.make("fill", {
        table,
        from: { n: Schema.String },
        fills: ["m"],
        concurrent,
        row: ({ n }, id) =>
          id === failsAt ? Effect.fail(new Error("secret of a row")) : Effect.succeed({ m: Number(n) })
      })
    ],
    handlers: NumbersApi.toLayer({
      add: () => Effect.void,
      sum: () => Effect.map(table.query(), (rows) => rows.reduce((sum, { m = 0 }) => sum + m, 0)).pipe(Effect.orDie),
      react: ({ sum }) => Effect.orDie(reactions.insert({ id: sum }))
    })
  })

const session = { tenant: "main", identity: anonymous }
const call = async (harness: Awaited<ReturnType<typeof makeEngine>>, tag: string, payload: unknown) => {
  const answer = harness.engine.http.call(session, JSON.stringify(request("1", tag, payload)))
  const { body, status } = await answer
  const [{ exit }] = JSON.parse(body)
  return { status, exit }
}

/** The database that the version before leaves, with so many rows. */
const filled = async (count: number): Promise<DatabaseSync> => {
  const sqlite = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
  const first = await makeEngine(before, { sqlite })
  await call(first, "add", { count })
  first.idle()
  await first.close()
  return sqlite
}

it("MG3: a tenant of few rows is migrated before its first call", async () => {
  const sqlite = await filled(500)
  const harness = await makeEngine(afterWith(false), { sqlite })
  expect(harness.engine.refusal).toBe(undefined)
  expect(harness.alarms).toEqual([])
  expect((await call(harness, "sum", {})).exit.value).toBe(500)
  await harness.close()
  sqlite.close()
})

it("MG3: a tenant of many rows answers no call, runs no reactor and closes its sockets, until it is migrated", async () => {
  const sqlite = await filled(1250)
  const socket = new KeepingSocket()
  const ended: Array<string> = []
  const app = afterWith(false, undefined, [reactor])
  const harness = await makeEngine(app, {
    sqlite,
    sockets: new Set([socket]),
    onMigrated: () => ended.push(harness.engine.migration.state)
  })
  const reacted = () => sqlite.prepare("SELECT count(*) AS n FROM reactions").get()?.["n"]
  const detail = "the tenant is migrating: fill (1 of 1), 1000 of 1250 rows"
  expect(socket.closed).toEqual({ code: 1013, reason: detail })
  expect(harness.engine.migration).toMatchObject({ state: "running", isBlocking: true })
  // The alarm takes over when the object is evicted.
  expect(harness.alarms).toEqual([1_700_000_030_000])
  for (const tag of ["sum", "react", "live:sum", "unknown"]) {
    expect(await call(harness, tag, { sum: 7 })).toMatchObject({
      status: 503,
      exit: { cause: [{ error: { _tag: "CallError", reason: { _tag: "Unavailable", detail } } }] }
    })
  }
  harness.nextTurn()
  expect(harness.engine.refusal).toContain("1100 of 1250 rows")
  harness.engine.alarm()
  expect(harness.alarms).toHaveLength(2)
  expect([reacted(), ended]).toEqual([0, []])
  while (harness.engine.refusal !== undefined) harness.nextTurn()
  expect(ended).toEqual(["done"])
  expect((await call(harness, "sum", {})).exit.value).toBe(1250)
  harness.idle()
  await harness.close()
  const again = await makeEngine(app, { sqlite })
  expect([again.engine.refusal, again.alarms]).toEqual([undefined, []])
  await again.close()
  sqlite.close()
})

it("MG3: a migration that is cut goes on where it was", async () => {
  const sqlite = await filled(2450)
  for (const rows of [1000, 2000]) {
    const harness = await makeEngine(afterWith(false), { sqlite })
    expect(harness.engine.refusal).toContain(`${rows} of 2450 rows`)
    await harness.close()
  }
  const last = await makeEngine(afterWith(false), { sqlite })
  expect(last.engine.refusal).toBe(undefined)
  await last.close()
  sqlite.close()
})

it("MG4: beside a concurrent migration calls are answered, and live queries see what it writes", async () => {
  const sqlite = await filled(1250)
  const harness = await makeEngine(afterWith(true), { sqlite })
  expect(harness.engine.refusal).toBe(undefined)
  expect(harness.engine.migration).toMatchObject({ state: "running", isBlocking: false })
  const socket = new KeepingSocket()
  harness.sockets.add(socket)
  harness.engine.sockets.open(socket, session)
  harness.engine.sockets.message(socket, JSON.stringify(request("live", "live:sum", {})))
  const values = () =>
    socket.messages
      .filter(({ _tag }) => _tag === "Chunk")
      .flatMap(({ values }) => values.map((frame: any) => frame.value))
  expect(values()).toEqual([1000])
  harness.engine.sockets.message(socket, JSON.stringify({ _tag: "Ack", requestId: "live" }))
  harness.idle()
  expect((await call(harness, "sum", {})).exit.value).toBe(1250)
  expect(values().length).toBeGreaterThan(1)
  expect(harness.engine.migration.state).toBe("done")
  await harness.close()
  sqlite.close()
})

it("MG5: while a migration has failed, callers learn nothing of the row; the next start tries again", async () => {
  const sqlite = await filled(300)
  const harness = await makeEngine(afterWith(false, 150), { sqlite })
  expect(harness.engine.migration).toMatchObject({ state: "failed", isBlocking: true })
  expect(harness.engine.migration.detail).toBe("fill (1 of 1): row 150: Error: secret of a row")
  const { exit, status } = await call(harness, "sum", {})
  expect(status).toBe(503)
  expect(JSON.stringify(exit)).toContain("a migration of the tenant failed; the cause is in its log")
  expect(JSON.stringify(exit)).not.toContain("secret")
  harness.idle()
  await harness.close()
  const corrected = await makeEngine(afterWith(false), { sqlite })
  expect((await call(corrected, "sum", {})).exit.value).toBe(300)
  await corrected.close()
  const other = await filled(300)
  const concurrent = await makeEngine(afterWith(true, 150), { sqlite: other })
  expect(concurrent.engine.migration.state).toBe("failed")
  expect((await call(concurrent, "sum", {})).exit.value).toBe(100)
  await concurrent.close()
  other.close()
  sqlite.close()
})
