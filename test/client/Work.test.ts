import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Model from "effect/schema/Model"
import { Api, App, Mutation, Query, Table } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { settle } from "./fakeServer.ts"

/** The work of a client for one change: decodes and listener calls, counted rather than timed. */

let decodes = 0
const Body = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({
      decode: (body) => {
        decodes++
        return body
      },
      encode: (body) => body
    })
  )
)
class Row extends Model.Class<Row>("test/Row")({
  id: Table.key(Schema.String),
  list: Schema.Int,
  body: Schema.String
}) {}
const rows = Table.make("rows", Row, { key: "id", indexes: { byList: ["list"] } })

class RowsApi extends Api.make(
  Query.make("list", {
    payload: { list: Schema.Int },
    success: Schema.Array(Schema.Struct({ id: Schema.String, body: Body }))
  }),
  Mutation.make("fill", { payload: { lists: Schema.Int, size: Schema.Int } }),
  Mutation.make("set", { payload: { id: Schema.String, body: Schema.String } })
) {}

const text = "a body of some length, so that a patch is less than the list ".repeat(3)

const app = App.make({
  api: RowsApi,
  tables: [rows],
  handlers: RowsApi.toLayer({
    list: ({ list }) =>
      Effect.map(rows.query("byList").eq("list", list), (found) => found.map(({ id, body }) => ({ id, body }))),
    fill: ({ lists, size }) =>
      Effect.asVoid(
        rows.insertMany(
          Array.from({ length: lists * size }, (_, i) => {
            const list = Math.floor(i / size)
            return { id: `${list}-${i % size}`, list, body: text }
          })
        )
      ),
    set: ({ body, id }) =>
      rows.patch(id, { body }).pipe(
        Effect.catchTag("RowNotFound", () => Effect.void),
        Effect.asVoid
      )
  }),
  limits: { rowsWritten: 20_000 }
})

it.effect("C11: with 1,000 live queries, a changed row costs one decode and one listener call", () =>
  Effect.gen(function* () {
    const client = yield* TestApp.client(RowsApi)
    const other = yield* TestApp.client(RowsApi)
    const { object } = yield* TestApp
    yield* client.mutate("fill", { lists: 1000, size: 10 })
    const calls = Array.from({ length: 1000 }, () => 0)
    const observed = calls.map((_, list) => client.observe("list", { list }, () => void calls[list]!++))
    while (observed.some(({ live }) => Option.isNone(live().value))) yield* settle
    expect(decodes).toBe(10_000)

    const work = () => {
      const done = { decodes, notified: calls.flatMap((count, list) => (count === 0 ? [] : [[list, count]])) }
      decodes = 0
      calls.fill(0)
      return done
    }
    const values = () => observed.map(({ live }) => Option.getOrThrow(live().value))
    work()
    object().network.log.length = 0
    const before = values()

    yield* other.mutate("set", { id: "500-3", body: "other" })
    yield* settle
    expect(work()).toEqual({ decodes: 1, notified: [[500, 1]] })
    expect(object().network.log.map(({ direction }) => direction)).toEqual(["toClient", "toServer"])
    const after = values()
    expect(after.filter((value, list) => value !== before[list])).toEqual([after[500]])
    // The other rows of the list are the same objects as before.
    expect(after[500]!.map((row, i) => row === before[500]![i])).toEqual(Array.from({ length: 10 }, (_, i) => i !== 3))

    // Once for the optimistic change, and once for the server's value.
    yield* client.mutate(
      "set",
      { id: "7-0", body: "mine" },
      {
        optimistic: (view) => view.update("list", { list: 7 }, (list) => list.map((row) => ({ ...row, body: "guess" })))
      }
    )
    yield* settle
    expect(work()).toEqual({ decodes: 1, notified: [[7, 2]] })

    // A mutation that changes no live value calls no listener.
    yield* client.mutate("set", { id: "missing", body: "x" })
    yield* settle
    expect(work()).toEqual({ decodes: 0, notified: [] })
  }).pipe(Effect.provide(TestApp.layer(app)))
)
