import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Mutation, Query, Table } from "effect-dormouse"
import { RateLimits } from "effect-dormouse/storage"
import { TestApp } from "effect-dormouse/testing"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bodies, call, errorOf, newTenant } from "../deployment/Deployment.ts"
import { type MemoryDeployment, memory } from "../deployment/memory.ts"

class Note extends Model.Class<Note>("test/RatedNote")({ id: Table.key(Schema.String), body: Schema.String }) {}
const notes = Table.make("notes", Note, { key: "id" })

class RatedApi extends Api.make(
  Mutation.make("post", {
    payload: { body: Schema.String },
    success: Schema.Finite,
    error: Schema.String
  }),
  Query.make("notes.list", { payload: {}, success: Schema.Array(Note) }),
  Query.make("charged", { payload: {} })
) {}

const charge = RateLimits.charge({ key: "all", limit: 3, window: "1 hour" })

const app = App.make({
  api: RatedApi,
  tables: [notes],
  transactional: [RateLimits.transactional],
  handlers: RatedApi.toLayer({
    post: Effect.fnUntraced(function* ({ body }) {
      yield* notes.insert({ body })
      const { remaining } = yield* charge
      if (body === "bad") return yield* Effect.fail("no")
      return remaining
    }),
    "notes.list": () => notes.query(),
    charged: () => Effect.asVoid(charge)
  })
})

describe("A20: rate limits in an app", () => {
  let deployment: MemoryDeployment
  beforeAll(async () => {
    deployment = await memory(app)
  })
  afterAll(() => deployment.close())

  it("A20: failed calls count, also those of a tenant without tables, and the heap does not matter", async () => {
    const tenant = newTenant("rated")
    expect(errorOf(await call(deployment, tenant, "post", { body: "bad" }))).toBe("no")
    await deployment.evict(tenant)
    expect(errorOf(await call(deployment, tenant, "post", { body: "bad" }))).toBe("no")
    expect(await call(deployment, tenant, "post", { body: "good" })).toMatchObject({ value: 0 })
    const refused = errorOf(await call(deployment, tenant, "post", { body: "late" }))
    expect(refused).toMatchObject({ _tag: "CallError", reason: { _tag: "TooManyRequests" } })
    expect(refused.reason.retryAfter).toBeGreaterThan(0)
    expect(await bodies(deployment, tenant)).toEqual(["good"])
  })

  it("A20, T3: a numbered mutation charges once however often it is sent", async () => {
    const tenant = newTenant("rated")
    const peer = await deployment.connect(tenant)
    for (const body of ["good", "bad"]) {
      for (let i = 0; i < 4; i++)
        await peer.call("post", { body }, [["dormouse-mutation", `rated-${tenant}/${body.length}`]])
    }
    expect(await call(deployment, tenant, "post", { body: "second" })).toMatchObject({ value: 0 })
    peer.close(1000)
  })

  it("A20: messages that share a commit keep their charges", async () => {
    const tenant = newTenant("rated")
    const peer = await deployment.connect(tenant)
    const ids = ["bad", "good", "bad", "late", "late"].map((body) => peer.ask("post", { body }))
    const exits = await Promise.all(ids.map((id) => peer.exit(id)))
    expect(exits.map(({ _tag }) => _tag)).toEqual(["Failure", "Success", "Failure", "Failure", "Failure"])
    expect(await bodies(deployment, tenant)).toEqual(["good"])
    peer.close(1000)
  })

  it("T3: a mutation that was refused with TooManyRequests can be sent again under its number", () => {
    const numbered = { headers: { "dormouse-mutation": "a-client-of-the-test/1" } }
    const test = Effect.gen(function* () {
      const client = yield* TestApp.client(RatedApi)
      const rpc = yield* TestApp.rpc(RatedApi)
      for (let i = 0; i < 3; i++) yield* client.mutate("post", { body: "x" })
      const tooMany = { _tag: "CallError", reason: { _tag: "TooManyRequests", retryAfter: 3_600_000 } }
      // The client does not wait for so long: its caller decides.
      expect(yield* Effect.flip(client.mutate("post", { body: "y" }))).toMatchObject(tooMany)
      expect(yield* Effect.flip(rpc("post", { body: "y" }, numbered))).toMatchObject(tooMany)
      yield* TestClock.adjust("1 hour")
      expect(yield* rpc("post", { body: "y" }, numbered)).toBe(2)
      expect(yield* rpc("post", { body: "y" }, numbered)).toBe(2)
    })
    return test.pipe(
      Effect.scoped,
      Effect.provide(TestApp.layer(app).pipe(Layer.provideMerge(TestClock.layer()))),
      Effect.runPromise
    )
  })

  it("A20: in a query a charge is a defect", async () => {
    const tenant = newTenant("rated")
    expect(await call(deployment, tenant, "charged", {})).toMatchObject({ _tag: "Failure", cause: [{ _tag: "Die" }] })
    expect(deployment.logged()).toContain("a query cannot charge a rate limit")
  })
})
