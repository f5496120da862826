import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Auth, Mutation, Query, Storage, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"

/** Reactors of an app with policies: as whom they read and write. */

class Row extends Model.Class<Row>("reactors/Row")({ id: Schema.String, owner: Schema.String, n: Schema.Int }) {}
const rows = Table.make("rows", Row, { key: "id" })
class Seen extends Model.Class<Seen>("reactors/Seen")({
  id: Schema.String,
  n: Schema.Int,
  subject: Schema.NullOr(Schema.String)
}) {}
const seen = Table.make("seen", Seen, { key: "id" })

const policies = [
  Policy.make(rows, {
    read: ({ me, row }) => Policy.or(Policy.eq(row.owner, me.subject), Policy.eq(row.owner, "everybody")),
    insert: ({ me }) => Policy.not(Policy.isNull(me.subject))
  }),
  Policy.make(seen, { read: () => Policy.allow })
]

const record = { payload: { id: Schema.String, n: Schema.Int } }

class SumApi extends Api.make(
  Query.make("sum", { payload: {}, success: Schema.Int }),
  Query.make("sumOfAll", { payload: {}, success: Schema.Int }),
  Query.make("seen", { payload: {}, success: Schema.Array(Seen) }),
  Mutation.make("put", { payload: { id: Schema.String, owner: Schema.String, n: Schema.Int } }),
  Mutation.make("record", record),
  Mutation.make("recordAnyway", record)
) {}

const sum = Effect.map(rows.query(), (all) => all.reduce((sum, { n }) => sum + n, 0))
const note = ({ id, n }: { readonly id: string; readonly n: number }) =>
  Effect.flatMap(Auth.identity, ({ subject }) => Effect.asVoid(seen.upsert({ id, n, subject })))

const reactor = (query: "sum" | "sumOfAll", mutation: "record" | "recordAnyway") =>
  App.react(SumApi, {
    name: `${query} ${mutation}`,
    query,
    queryPayload: {},
    mutation,
    mutationPayload: (n) => ({ id: `${query} ${mutation}`, n })
  })

const appWith = (used: typeof policies) =>
  App.make({
    api: SumApi,
    tables: [rows, seen],
    policies: used,
    handlers: SumApi.toLayer({
      sum: () => sum,
      sumOfAll: () => Storage.unrestricted(sum),
      seen: () => seen.query(),
      put: (row) => Effect.asVoid(rows.insert(row)),
      record: note,
      recordAnyway: (payload) => Storage.unrestricted(note(payload))
    }),
    // What is to be noticed comes last: the others have reacted, or not, when it is there.
    reactors: [
      reactor("sum", "record"),
      reactor("sum", "recordAnyway"),
      reactor("sumOfAll", "record"),
      reactor("sumOfAll", "recordAnyway")
    ]
  })

/** Puts rows one after another and returns what the reactors have recorded after each, and what they logged. */
const reactions = async (used: typeof policies) => {
  const logged: Array<string> = []
  const logger = Logger.layer([Logger.map(Logger.formatJson, (line) => void logged.push(line))])
  const recorded = await Effect.runPromise(
    Effect.gen(function* () {
      const ada = yield* TestApp.client(SumApi, { as: { subject: "ada", claims: {} } })
      const after: Array<ReadonlyArray<string>> = []
      const put = (id: string, owner: string, n: number, total: number) =>
        Effect.gen(function* () {
          yield* ada.mutate("put", { id, owner, n })
          const all = () => Effect.runPromise(Effect.orDie(ada.query("seen", {})))
          yield* Effect.promise(() =>
            expect.poll(all).toContainEqual(expect.objectContaining({ id: "sumOfAll recordAnyway", n: total }))
          )
          const found = yield* ada.query("seen", {})
          after.push(found.map(({ id, n, subject }) => `${id}: ${n} by ${subject}`).toSorted())
        })
      yield* put("a", "ada", 1, 1)
      yield* put("b", "everybody", 2, 3)
      return after
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(TestApp.layer(appWith(used)), logger)))
  )
  return { recorded, logged: logged.filter((line) => line.includes("could not react")) }
}

it("P1, P5: a reactor reads and writes as an anonymous caller, and everything inside of Storage.unrestricted", async () => {
  const { logged, recorded } = await reactions(policies)
  expect(recorded).toEqual([
    // Nobody but Ada may read her row, so that the sum of the first query is what it was.
    ["sumOfAll recordAnyway: 1 by null"],
    ["sum recordAnyway: 2 by null", "sumOfAll recordAnyway: 3 by null"]
  ])
  // No policy allows a reaction to write.
  expect(logged.map((line) => /reactor (\w+ \w+) could/.exec(line)?.[1])).toEqual([
    "sumOfAll record",
    "sum record",
    "sumOfAll record"
  ])
})

it("P5: the control: without policies every reactor reads and writes everything", async () => {
  const { logged, recorded } = await reactions([])
  expect(recorded.map((found) => found.length)).toEqual([4, 4])
  expect(recorded[1]).toEqual([
    "sum record: 3 by null",
    "sum recordAnyway: 3 by null",
    "sumOfAll record: 3 by null",
    "sumOfAll recordAnyway: 3 by null"
  ])
  expect(logged).toEqual([])
})
