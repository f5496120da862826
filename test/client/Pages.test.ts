import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as TestClock from "effect/testing/TestClock"
import { Action, Api, App, Mutation, Page, Query, Table } from "effect-dormouse"
import { Pages } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { expect, it } from "vitest"
import { forAllAsync } from "../random.ts"

class Item extends Model.Class<Item>("test/Item")({
  id: Schema.String,
  list: Schema.String,
  rank: Schema.NullOr(Schema.Int)
}) {}
const items = Table.make("items", Item, { key: "id", indexes: { byRank: ["list", "rank"] } })

class Lists extends Api.make(
  Query.make("page", { payload: { list: Schema.String, ...Page.Fields }, success: Page.Page(Item) }),
  Query.make("all", { payload: { list: Schema.String }, success: Schema.Array(Item) }),
  Mutation.make("put", { payload: { items: Schema.Array(Item) } }),
  Mutation.make("remove", { payload: { ids: Schema.Array(Schema.String) } }),
  Action.make("nothing")
) {}

const app = App.make({
  api: Lists,
  tables: [items],
  handlers: Lists.toLayer({
    page: ({ list, ...page }) => items.query("byRank").eq("list", list).descending.page(page),
    all: ({ list }) => items.query("byRank").eq("list", list).descending,
    put: ({ items: rows }) => Effect.forEach(rows, (row) => items.upsert(row), { discard: true }),
    remove: ({ ids }) => Effect.forEach(ids, (id) => items.delete(id), { discard: true }),
    nothing: () => Effect.void
  })
})

/** Waits, in real time, until everything in flight has arrived. */
const calm = Effect.promise(async () => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve))
})

it("C13: pages have neither gap nor overlap while rows are inserted, deleted and moved", () =>
  forAllAsync(8, (random) =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(Lists)
      const oracle = yield* TestApp.client(Lists)
      const row = () =>
        new Item({
          id: `i${random.int(60)}`,
          list: random.chance(0.5) ? "a" : "b",
          rank: random.chance(0.2) ? null : random.int(9)
        })
      yield* client.mutate("put", { items: Array.from({ length: 30 }, row) })
      const pages = yield* Pages.make(client, "page", { size: 4, payload: (page) => ({ list: "a", ...page }) })
      yield* calm
      for (let step = 0; step < 40; step++) {
        const choice = random.int(10)
        if (choice < 4) yield* client.mutate("put", { items: Array.from({ length: 1 + random.int(6) }, row) })
        else if (choice < 6) {
          yield* client.mutate("remove", { ids: Array.from({ length: 1 + random.int(8) }, () => row().id) })
        } else if (choice < 9) pages.loadMore()
        else {
          // An eviction and a lost connection, which must not change the list.
          const { object } = yield* TestApp
          yield* Effect.promise(() => object().evict())
          object().network.cut()
          yield* TestClock.adjust("20 seconds")
        }
        yield* calm
        const { hasMore, isLoading, items: shown } = pages.state()
        const all = yield* oracle.query("all", { list: "a" })
        expect(isLoading).toBe(false)
        expect(shown.map(({ id }) => id)).toEqual(all.slice(0, shown.length).map(({ id }) => id))
        if (!hasMore) expect(shown.length).toBe(all.length)
      }
    }).pipe(Effect.scoped, Effect.provide([TestApp.layer(app), TestClock.layer()]), Effect.runPromise)
  ))

it("C13: further lists of the same pages on one client load as the first one does", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(Lists)
    const row = (i: number) => new Item({ id: `i${i}`, list: "a", rank: i })
    yield* client.mutate("put", { items: Array.from({ length: 10 }, (_, i) => row(i)) })
    const load = Pages.make(client, "page", { size: 4, payload: (page) => ({ list: "a", ...page }) })
    for (let i = 0; i < 3; i++) {
      const pages = yield* load
      const counts: Array<number> = []
      do {
        yield* calm
        counts.push(pages.state().items.length)
        pages.loadMore()
        yield* calm
      } while (pages.state().items.length > counts.at(-1)!)
      expect(counts).toEqual([4, 8, 10])
      expect(pages.state().hasMore).toBe(false)
    }
  }).pipe(Effect.scoped, Effect.provide([TestApp.layer(app), TestClock.layer()]), Effect.runPromise))
