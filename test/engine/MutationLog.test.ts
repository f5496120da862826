/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { MutationLog, mutationIndex, mutationTable } from "../../src/engine/object/MutationLog.ts"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { mutationRetention } from "../../src/protocol/MutationId.ts"
import type { SqlValue } from "../../src/services/Database.ts"
import { memory } from "../deployment/memory.ts"
import { app, limited, NotesApi } from "../worker/notes.ts"
import { suite } from "./mutationLogCases.ts"

suite("Numbered mutations in memory", async () => {
  const [deployment, small] = await Promise.all([memory(app), memory(limited)])
  return {
    deployment,
    limited: small,
    callAs: async (session, body) => (await small.object(session.tenant).stub.call(session, body)).body,
    close: async () => {
      await Promise.all([deployment.close(), small.close()])
    }
  }
})

/** Adds a note under a mutation id, and returns the note's id. */
const adding = Effect.gen(function* () {
  const rpc = yield* TestApp.rpc(NotesApi)
  const { object } = yield* TestApp
  const addWith = (id: string, body: string) =>
    Effect.map(rpc("notes.add", { body }, { headers: { "dormouse-mutation": id } }), (note) => note.id)
  return {
    object,
    add: (id: string) => addWith(id, "x"),
    addWith,
    addUnnumbered: rpc("notes.add", { body: "x" }),
    kept: () =>
      object()
        .database.prepare("SELECT client, number FROM _dormouse_mutations ORDER BY at")
        .all()
        .map(({ client, number }) => `${client}/${number}`),
    /** The rows of all tables. */
    rows: () =>
      Object.fromEntries(
        object()
          .database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
          .all()
          .map(({ name }) => [name, object().database.prepare(`SELECT count(*) AS rows FROM "${name}"`).get()!["rows"]])
      )
  }
})

it.effect("T3: an outcome is kept for a day, and deleted by the next mutation after that", () =>
  Effect.gen(function* () {
    const { add, kept } = yield* adding
    const first = yield* add("a-client/1")
    yield* TestClock.adjust(mutationRetention / 2)
    yield* add("a-client/2")
    yield* TestClock.adjust(mutationRetention / 2)
    // At the last moment, directly after a deletion of old outcomes.
    yield* add("a-client/3")
    expect(yield* add("a-client/1")).toBe(first)
    expect(kept()).toEqual(["a-client/1", "a-client/2", "a-client/3"])
    yield* TestClock.adjust("61 minutes")
    yield* add("a-client/4")
    expect(kept()).toEqual(["a-client/2", "a-client/3", "a-client/4"])
    // Sent now it would run again: clients do not do that.
    expect(yield* add("a-client/1")).not.toBe(first)
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("T3: a record of a version that bound nothing answers its number to any payload", () =>
  Effect.gen(function* () {
    const { add, addWith, object } = yield* adding
    const first = yield* add("a-client/1")
    // The table as it was, with the record as it was.
    object().database.exec("DROP INDEX _dormouse_mutations_by_age")
    for (const column of ["binding", "caller", "below"]) {
      object().database.exec(`ALTER TABLE _dormouse_mutations DROP COLUMN ${column}`)
    }
    yield* Effect.promise(() => object().evict())
    expect(yield* addWith("a-client/1", "y")).toBe(first)
    yield* add("a-client/2")
    const refused = yield* Effect.flip(addWith("a-client/2", "y"))
    expect(refused).toMatchObject({ _tag: "CallError", reason: { _tag: "MutationMismatch" } })
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("T3: a start of the object deletes old outcomes as well", () =>
  Effect.gen(function* () {
    const { add, kept, object } = yield* adding
    yield* add("a-client/1")
    yield* TestClock.adjust(mutationRetention + 1)
    yield* Effect.promise(() => object().evict())
    yield* add("a-client/2")
    expect(kept()).toEqual(["a-client/2"])
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("T3: old outcomes are deleted by an index, a few with each mutation, also after a start", () =>
  Effect.gen(function* () {
    const { add, kept, object } = yield* adding
    const first = yield* add("a-client/1")
    const { database } = object()
    const insert = database.prepare(
      "INSERT INTO _dormouse_mutations (client, number, tag, outcome, at) VALUES (?, ?, 'notes.add', '{}', ?)"
    )
    // Older than the record of the mutation that ran.
    for (let number = 0; number < 100; number++) insert.run("b-client", number, -1 - mutationRetention)
    yield* Effect.promise(() => object().evict())
    for (let number = 2, before = 101; before > number; number++) {
      yield* add(`a-client/${number}`)
      const now = kept().length
      // One more and at most eight less.
      expect(before + 1 - now).toBeGreaterThan(0)
      expect(before + 1 - now).toBeLessThanOrEqual(8)
      before = now
    }
    expect(kept().filter((id) => id.startsWith("b-client"))).toEqual([])
    expect(yield* add("a-client/1")).toBe(first)
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it("T3: no statement reads more outcomes than it returns or deletes", () => {
  const sqlite = new DatabaseSync(":memory:")
  sqlite.exec(`${mutationTable.create}; ${mutationIndex.create}`)
  const database = MemoryDatabase.make(sqlite)
  const plans: Array<string> = []
  const explain = (sql: string, params: ReadonlyArray<SqlValue>) => {
    for (const [, , , detail] of database.all(`EXPLAIN QUERY PLAN ${sql}`, params).rows) plans.push(String(detail))
  }
  const log = new MutationLog({
    ...database,
    all: (sql, params) => {
      explain(sql, params)
      return database.all(sql, params)
    },
    run: (sql, params) => {
      explain(sql, params)
      database.run(sql, params)
    }
  })
  /** Uses a number as the executor does, and returns the plans of the statements that ran. */
  const use = (number: number, below: number) => {
    plans.length = 0
    const id = { client: "a-client", number, below }
    const known = log.find(id)
    if (known._tag === "New") {
      log.record({ id, newest: known.newest, caller: "null", tag: "notes.add", binding: "b" }, "{}", 1)
    }
    expect(plans.filter((plan) => plan.startsWith("SCAN"))).toEqual([])
    return plans.filter((plan) => plan.startsWith("SEARCH")).length
  }
  // The look-up, the two of the sweep, and the insert, which has no plan.
  expect(use(0, 0)).toBe(3)
  // The look-up, the replacement of the settled record, and the two of the sweep: a client that waits pays this for each.
  for (let number = 1; number < 5; number++) expect(use(number, number)).toBe(4)
  expect(use(5, 4)).toBe(3)
  expect(use(8, 4)).toBe(3)
  // One that comes late is also looked up by itself.
  expect(use(6, 4)).toBe(4)
  expect(use(5, 4)).toBe(2)
  // Several are settled: they are deleted.
  expect(use(9, 9)).toBe(4)
  expect(use(5, 4)).toBe(2)
  expect(database.all("SELECT number, below FROM _dormouse_mutations", []).rows).toEqual([[9, 9]])
})

it.effect("T4: a mutation without an id adds only the author's rows, one with an id also its outcome", () =>
  Effect.gen(function* () {
    const { add, addUnnumbered, rows } = yield* adding
    yield* addUnnumbered
    const before = rows()
    for (let i = 0; i < 3; i++) yield* addUnnumbered
    expect(rows()).toEqual({ ...before, notes: 4 })
    for (let i = 0; i < 3; i++) yield* add("a-client/1")
    expect(rows()).toEqual({ ...before, notes: 5, _dormouse_mutations: 1 })
  }).pipe(Effect.provide(TestApp.layer(app)))
)
