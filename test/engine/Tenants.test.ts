import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { ConnectionRefused } from "effect-dormouse/client"
import { Tenants, TenantsApi } from "effect-dormouse/tenants"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { reportInterval } from "../../src/services/TenantGate.ts"
import { Transactor } from "../../src/services/Transactor.ts"
import { app, NotesApi, notes } from "../worker/notes.ts"

/** A registry of tenants in memory, under the clock of the test. */

const everyPage = { size: 1000, after: null, until: null }
const missing = Exit.fail(new ConnectionRefused({ reason: "4404 no such tenant" }))
const backend = (options: Partial<TestAppOptions> = {}) =>
  TestApp.layer(app, {
    auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous),
    tenants: Tenants.registry({ admin: ({ identity }) => identity.subject === "root" }),
    ...options
  })
const administer = TestApp.client(TenantsApi, { tenant: "~tenants", as: { subject: "root" } })
const client = (tenant: string, tenants: ReadonlyArray<string> = [tenant]) =>
  TestApp.client(NotesApi, { tenant, as: { subject: "ada", claims: { tenants: [...tenants] } } })
const enter = (tenant: string, tenants?: ReadonlyArray<string>) =>
  Effect.flatMap(client(tenant, tenants), (client) => Effect.exit(Stream.runHead(client.live("notes.list", {}))))

/** Retries until the condition holds: what it waits for runs in later turns, and not under the clock of the test. */
const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>, condition: (value: A) => boolean) =>
  TestClock.withLive(
    effect.pipe(
      Effect.filterOrFail(condition, (value) => new Error(`still ${JSON.stringify(value)}`)),
      Effect.retry({ schedule: Schedule.spaced("5 millis"), times: 2000 })
    )
  )

/** Replaces a method of an object's stub. */
const intercept = <K extends "call" | "update">(
  object: { readonly stub: ObjectStub },
  method: K,
  make: (original: NonNullable<ObjectStub[K]>) => ObjectStub[K]
): void => {
  Object.assign(object.stub, { [method]: make(object.stub[method]!) })
}

describe("A16: a tenant that nobody created", () => {
  it.effect("is created by the first caller who may enter it, where the author says so", () =>
    Effect.gen(function* () {
      const admin = yield* administer
      expect(yield* enter("acme", ["other"])).toEqual(missing)
      expect((yield* admin.query("tenants.list", everyPage)).items).toEqual([])
      const both = yield* Effect.all([enter("acme"), enter("acme")], { concurrency: 2 })
      expect(both.map(Exit.isSuccess)).toEqual([true, true])
      const { items } = yield* admin.query("tenants.list", everyPage)
      expect(items).toMatchObject([{ name: "acme", state: "active", isSettled: true }])
      // Entering does not bring back what an admin suspended.
      yield* admin.act("tenants.suspend", { name: "acme" })
      expect(yield* enter("acme")).toEqual(missing)
    }).pipe(
      Effect.provide(
        backend({
          tenants: Tenants.registry({ create: "onEnter", admin: ({ identity }) => identity.subject === "root" })
        })
      )
    )
  )

  it.effect("is not created by a caller unless the author says so", () =>
    Effect.gen(function* () {
      const admin = yield* administer
      expect(yield* enter("acme")).toEqual(missing)
      expect((yield* admin.query("tenants.list", everyPage)).items).toEqual([])
    }).pipe(Effect.provide(backend()))
  )

  it.effect("may have been used before there was a registry: adopting it keeps its rows", () =>
    Effect.gen(function* () {
      const admin = yield* administer
      yield* TestApp.run(
        Effect.flatMap(Transactor, ({ write }) => write(notes.insert({ body: "old" }))),
        "acme"
      )
      expect(yield* enter("acme")).toEqual(missing)
      expect(yield* admin.act("tenants.create", { name: "acme", adopt: true })).toMatchObject({ object: "acme" })
      const ada = yield* client("acme")
      expect((yield* ada.query("notes.list", {})).map(({ body }) => body)).toEqual(["old"])
      // The object belongs to the tenant that adopted it, also by another name.
      yield* admin.act("tenants.rename", { name: "acme", to: "bcme" })
      const again = admin.act("tenants.create", { name: "acme", adopt: true })
      expect(yield* Effect.flip(again)).toMatchObject({ _tag: "TenantExists" })
      // Nor when that tenant was deleted: the object takes nothing any more. A new one has another.
      yield* admin.act("tenants.delete", { name: "bcme" })
      expect(yield* Effect.flip(again)).toMatchObject({ _tag: "TenantExists" })
      yield* admin.act("tenants.create", { name: "acme" })
      expect(yield* (yield* client("acme")).query("notes.list", {})).toEqual([])
    }).pipe(Effect.provide(backend()))
  )
})

it.effect("A4: tenants that are open are entered by all whom the auth layer accepts, and no others", () =>
  Effect.gen(function* () {
    const anonymous = yield* TestApp.client(NotesApi)
    expect(yield* anonymous.query("notes.list", {})).toEqual([])
    expect(yield* enter("acme", [])).toEqual(missing)
    const wrong = yield* TestApp.client(NotesApi, { token: "nonsense" })
    const refused = yield* Effect.flip(Stream.runDrain(wrong.live("notes.list", {})))
    expect(refused).toEqual(new ConnectionRefused({ reason: "4401 unauthenticated: malformed" }))
  }).pipe(
    Effect.provide(TestApp.layer(app, { auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous), open: ["main"] }))
  )
)

describe("A18: a deletion that is cut", () => {
  const cuts: ReadonlyArray<readonly [string, (object: TestApp["Service"]["object"], name: string) => void]> = [
    [
      "before it reaches the object",
      (object, name) =>
        intercept(object(name), "update", (update) => {
          const cut = [Promise.reject(new Error("cut"))]
          cut[0]!.catch(() => {})
          return (change) => cut.pop() ?? update(change)
        })
    ],
    ["while the object commits it", (object, name) => object(name).failNextCommit()],
    [
      "before its answer arrives",
      (object, name) =>
        intercept(object(name), "update", (update) => {
          let isCut = false
          return async (change) => {
            await update(change)
            if (isCut) return
            isCut = true
            throw new Error("cut")
          }
        })
    ],
    [
      "before the records know that it is done",
      (object) =>
        intercept(object("~tenants"), "call", (call) => {
          let isCut = false
          return (session, body, isRewritten) => {
            if (isCut || !body.includes("records.settle")) return call(session, body, isRewritten)
            isCut = true
            return Promise.reject(new Error("cut"))
          }
        })
    ]
  ]

  it.effect.each(cuts)("%s is completed, and lets nobody in meanwhile", ([, cut]) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const admin = yield* administer
      const tenant = yield* admin.act("tenants.create", { name: "acme" })
      const ada = yield* client("acme")
      yield* ada.mutate("notes.add", { body: "x" })
      const tables = () =>
        object(tenant.object)
          .database.prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE '_dormouse_tenant'")
          .all()
      expect(tables()).not.toEqual([])
      cut(object, tenant.object)
      yield* Effect.exit(admin.act("tenants.delete", { name: "acme" }))
      expect(yield* enter("acme")).toEqual(missing)
      expect(yield* enter("another")).toEqual(missing)
      yield* eventually(admin.query("tenants.list", everyPage), ({ items }) => items.length === 0)
      expect(tables()).toEqual([])
      yield* admin.act("tenants.create", { name: "acme" })
      const again = yield* client("acme")
      expect(yield* again.query("notes.list", {})).toEqual([])
    }).pipe(Effect.provide(backend()))
  )
})

describe("A19: the registry", () => {
  it.effect("gets a report after the first write, and then one in five minutes while the tenant is used", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const admin = yield* administer
      const tenant = yield* admin.act("tenants.create", { name: "acme" })
      const reports: Array<number> = []
      intercept(object("~tenants"), "call", (call) => async (session, body, isRewritten) => {
        const answer = await call(session, body, isRewritten)
        if (body.includes("records.report")) reports.push(JSON.parse(body).payload.report.lastUse)
        return answer
      })
      const ada = yield* client("acme")
      for (let minute = 0; minute < 3; minute++) yield* ada.query("notes.list", {})
      yield* ada.mutate("notes.add", { body: "x" })
      yield* eventually(
        Effect.sync(() => reports.length),
        (count) => count === 1
      )
      for (let minute = 1; minute < 12; minute++) {
        yield* TestClock.adjust("1 minute")
        yield* ada.query("notes.list", {})
        yield* eventually(
          Effect.sync(() => reports.length),
          (count) => count === 1 + Math.floor(minute / 5)
        )
      }
      expect(reports).toEqual([0, reportInterval, 2 * reportInterval])
      yield* eventually(admin.query("tenants.list", everyPage), ({ items }) => items[0]?.lastUse === 2 * reportInterval)
      const { starts } = object(tenant.object)
      // A tenant that nobody uses reports nothing, and stays asleep.
      yield* Effect.promise(() => object(tenant.object).evict())
      yield* TestClock.adjust("1 hour")
      expect([reports.length, object(tenant.object).starts]).toEqual([3, starts])
    }).pipe(Effect.provide(backend()))
  )

  it.effect("does not hold up calls while it does not answer", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const admin = yield* administer
      yield* admin.act("tenants.create", { name: "acme" })
      let asked = 0
      intercept(object("~tenants"), "call", (call) => (session, body, isRewritten) => {
        if (!body.includes("records.report")) return call(session, body, isRewritten)
        asked++
        return new Promise(() => {})
      })
      const ada = yield* client("acme")
      yield* ada.mutate("notes.add", { body: "x" })
      yield* eventually(
        Effect.sync(() => asked),
        (count) => count === 1
      )
      expect(yield* ada.query("notes.list", {})).toHaveLength(1)
    }).pipe(Effect.provide(backend()))
  )

  it.effect("shows admins a live list, and takes changes over their sockets", () =>
    Effect.gen(function* () {
      const admin = yield* administer
      const names = admin.live("tenants.list", everyPage).pipe(Stream.map(({ items }) => items.map(({ name }) => name)))
      const watching = yield* names.pipe(
        Stream.takeUntil((names) => names.length === 2),
        Stream.runLast,
        Effect.forkChild
      )
      yield* admin.act("tenants.create", { name: "b" })
      yield* admin.act("tenants.create", { name: "a" })
      expect(yield* Fiber.join(watching)).toMatchObject({ value: ["a", "b"] })
    }).pipe(Effect.provide(backend()))
  )
})
