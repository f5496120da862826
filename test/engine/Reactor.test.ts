import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Api, App, Live, Mutation, Query, Table } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"

class Row extends Model.Class<Row>("test/Row")({ id: Schema.String, n: Schema.Int }) {}
const rows = Table.make("rows", Row, { key: "id" })
class Total extends Model.Class<Total>("test/Total")({ id: Schema.String, n: Schema.Int, times: Schema.Int }) {}
const totals = Table.make("totals", Total, { key: "id" })

class Sums extends Api.make(
  Query.make("sum", { payload: {}, success: Schema.Int }),
  Query.make("total", { payload: {}, success: Schema.NullOr(Total) }),
  Mutation.make("put", { payload: { id: Schema.String, n: Schema.Int } }),
  Mutation.make("record", { payload: { n: Schema.Int, fail: Schema.Boolean } }),
  Mutation.make("spin", { payload: {} })
) {}

const handlers = Sums.toLayer({
  sum: () => rows.query().pipe(Effect.map((all) => all.reduce((sum, { n }) => sum + n, 0))),
  total: () => totals.query().first.pipe(Effect.map((total) => (total._tag === "Some" ? total.value : null))),
  put: ({ id, n }) => Effect.asVoid(rows.upsert({ id, n })),
  record: Effect.fnUntraced(function* ({ fail, n }) {
    const before = yield* totals.query().first
    yield* totals.upsert({ id: "t", n, times: (before._tag === "Some" ? before.value.times : 0) + 1 })
    if (fail) return yield* Effect.die("no")
  }),
  spin: Effect.fnUntraced(function* () {
    const row = yield* rows.query().first
    yield* rows.upsert({ id: "spin", n: (row._tag === "Some" ? row.value.n : 0) + 1 })
  })
})

const appWith = (reactors: ReadonlyArray<ReturnType<typeof App.react>>) =>
  App.make({ api: Sums, tables: [rows, totals], handlers, reactors })

const recording = App.react(Sums, {
  name: "record-sum",
  query: "sum",
  queryPayload: {},
  mutation: "record",
  mutationPayload: (n) => (n < 0 ? undefined : { n, fail: n === 13 })
})

const calm = Effect.promise(async () => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve))
})

/** Waits until a condition holds. The test's own limit ends it when it never does. */
const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve))
  })

it.effect(
  "L11, ST20: the first write is reacted to, also after a crash, and reads do not write what a reactor knows",
  () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(Sums)
      const { object } = yield* TestApp
      const tables = () => object().database.prepare("SELECT name FROM sqlite_master").all()
      for (let i = 0; i < 2; i++) {
        expect(yield* client.query("total", {})).toBe(null)
        yield* calm
        expect(tables()).toEqual([])
        yield* Effect.promise(() => object().evict())
      }
      // A crash between the first commit and the reaction.
      yield* client.mutate("put", { id: "a", n: 1 })
      yield* Effect.promise(() => object().crash())
      yield* calm
      expect(yield* client.query("sum", {})).toBe(1)
      yield* calm
      expect(yield* client.query("total", {})).toMatchObject({ n: 1, times: 1 })
      yield* client.mutate("put", { id: "a", n: 2 })
      yield* calm
      expect(yield* client.query("total", {})).toMatchObject({ n: 2, times: 2 })
    }).pipe(Effect.provide(TestApp.layer(appWith([recording]))))
)

it.effect("L11: a reactor reacts exactly once to each change, even across an eviction and a crash", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Sums)
    const { object } = yield* TestApp
    yield* client.mutate("put", { id: "a", n: 1 })
    yield* calm
    expect(yield* client.query("total", {})).toMatchObject({ n: 1, times: 1 })
    // The same sum is no change.
    yield* client.mutate("put", { id: "a", n: 1 })
    yield* Effect.promise(() => object().evict())
    yield* calm
    expect(yield* client.query("total", {})).toMatchObject({ n: 1, times: 1 })
    // A crash between the commit and the reaction.
    yield* client.mutate("put", { id: "b", n: 2 })
    yield* Effect.promise(() => object().crash())
    yield* calm
    expect(yield* client.query("sum", {})).toBe(3)
    yield* calm
    expect(yield* client.query("total", {})).toMatchObject({ n: 3, times: 2 })
    // A change without a mutation counts as handled as well.
    yield* client.mutate("put", { id: "b", n: -9 })
    yield* calm
    expect(yield* client.query("total", {})).toMatchObject({ n: 3, times: 2 })
  }).pipe(Effect.provide(TestApp.layer(appWith([recording]))))
)

it.effect("L1: what a reaction commits while the object starts reaches live queries", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Sums)
    const { object } = yield* TestApp
    yield* client.mutate("put", { id: "a", n: 1 })
    yield* calm
    const seen: Array<number | undefined> = []
    const watch = Stream.runForEach(client.live("total", {}), (total) => Effect.sync(() => seen.push(total?.n)))
    yield* Effect.forkChild(watch)
    yield* until(() => seen.length === 1)
    yield* Effect.promise(() => object().evict())
    // As after a crash between a commit and its reaction: the sum is another one than the reactor knows.
    object().database.exec("UPDATE rows SET n = 5")
    expect(yield* client.query("sum", {})).toBe(5)
    yield* until(() => seen.length === 2)
    expect(seen).toEqual([1, 5])
  }).pipe(Effect.provide(TestApp.layer(appWith([recording]))))
)

it.effect("L11: a failed reaction leaves nothing, and is retried with the next change", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Sums)
    yield* client.mutate("put", { id: "a", n: 13 })
    yield* calm
    expect(yield* client.query("total", {})).toBe(null)
    yield* client.mutate("put", { id: "a", n: 14 })
    yield* calm
    expect(yield* client.query("total", {})).toMatchObject({ n: 14, times: 1 })
  }).pipe(Effect.provide(TestApp.layer(appWith([recording]))))
)

it.effect("L11: a reactor that changes what it watches is stopped, and continues after another commit", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Sums)
    yield* client.mutate("put", { id: "a", n: 1 })
    for (let i = 0; i < 10; i++) yield* calm
    const first = yield* client.query("sum", {})
    for (let i = 0; i < 5; i++) yield* calm
    expect(yield* client.query("sum", {})).toBe(first)
    yield* client.mutate("put", { id: "a", n: 100 })
    for (let i = 0; i < 10; i++) yield* calm
    expect(yield* client.query("sum", {})).toBeGreaterThan(first + 99)
  }).pipe(
    Effect.provide(
      TestApp.layer(
        appWith([
          App.react(Sums, {
            name: "spin",
            query: "sum",
            queryPayload: {},
            mutation: "spin",
            mutationPayload: () => ({})
          })
        ])
      )
    )
  )
)

it.effect("L12: Live.stream emits the same values inside the object", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Sums)
    const seen = yield* TestApp.live(Sums, "sum", {}).pipe(Stream.take(3), Stream.runCollect, Effect.forkChild)
    for (const n of [1, 2]) {
      yield* calm
      yield* client.mutate("put", { id: "a", n })
    }
    expect(yield* Fiber.join(seen)).toEqual([0, 1, 2])
    expect(typeof Live.stream).toBe("function")
  }).pipe(Effect.provide(TestApp.layer(appWith([]))))
)
