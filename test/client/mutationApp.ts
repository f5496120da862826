import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Mutation, Query, type Storage, Table } from "effect-dormouse"

/** An app whose rows show which mutations ran, and how often. */

export class Mark extends Model.Class<Mark>("test/Mark")({
  id: Table.key(Schema.String),
  list: Schema.String,
  marker: Schema.String
}) {}

export const marks = Table.make("marks", Mark, { key: "id", indexes: { byList: ["list", "marker"] } })

/** One row: how many mutations ran. */
export class Tick extends Model.Class<Tick>("test/Tick")({ id: Table.key(Schema.String), count: Schema.Int }) {}
export const ticks = Table.make("ticks", Tick, { key: "id" })

export class Full extends Schema.TaggedError<Full>()("Full", { count: Schema.Int }) {}

const place = { list: Schema.String, marker: Schema.String }

/** A list, with the number of mutations that ran: two lists with different numbers are of different versions. */
export const List = Schema.Struct({ tick: Schema.Int, markers: Schema.Array(Schema.String), ballast: Schema.String })
/** A row with an `id`, by which patches match it. */
export const Row = Schema.Struct({ id: Schema.String, ballast: Schema.String })
/** Makes values so large that a patch is smaller. */
const ballast = "ballast ".repeat(30)

export class MarksApi extends Api.make(
  Query.make("list", { payload: { list: Schema.String }, success: List }),
  Query.make("rows", { payload: { list: Schema.String }, success: Schema.Array(Row) }),
  Query.make("total", { payload: {}, success: List }),
  /** Returns how many mutations ran before it: a different number if it runs again. */
  Mutation.make("add", { payload: place, success: Schema.Int }),
  /** Fails when so many mutations ran already: if it runs again, its outcome may differ. */
  Mutation.make("addUpTo", { payload: { ...place, max: Schema.Int }, success: Schema.Int, error: Full }),
  Mutation.make("addAndFail", { payload: place, success: Schema.Int, error: Full }),
  Mutation.make("addAndDie", { payload: place, success: Schema.Int })
) {}

const tick = Effect.map(ticks.query().first, (row) => (row._tag === "Some" ? row.value.count : 0))

const add = Effect.fnUntraced(function* ({ list, marker }: { readonly list: string; readonly marker: string }) {
  const count = yield* tick
  yield* ticks.upsert({ id: "tick", count: count + 1 })
  yield* marks.insert({ list, marker })
  return count
})

const all = marks.query("byList")
const listOf = (rows: Effect.Effect<ReadonlyArray<Mark>, Storage.StorageError, Storage.Storage>) =>
  Effect.map(Effect.all([tick, rows]), ([tick, rows]) => ({ tick, markers: rows.map(({ marker }) => marker), ballast }))

export const MarksHandlers = MarksApi.toLayer({
  list: ({ list }) => listOf(all.eq("list", list)),
  rows: ({ list }) => Effect.map(all.eq("list", list), (rows) => rows.map(({ marker: id }) => ({ id, ballast }))),
  total: () => listOf(all),
  add,
  addUpTo: Effect.fnUntraced(function* (payload) {
    const count = yield* add(payload)
    if (count >= payload.max) return yield* new Full({ count })
    return count
  }),
  addAndFail: Effect.fnUntraced(function* (payload) {
    return yield* new Full({ count: yield* add(payload) })
  }),
  addAndDie: Effect.fnUntraced(function* (payload) {
    yield* add(payload)
    return yield* Effect.die(new Error("intended by the test"))
  })
})

export const app = App.make({ api: MarksApi, tables: [marks, ticks], handlers: MarksHandlers })
