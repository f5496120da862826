/** A table whose rows are inserted, changed and deleted, with a change feed and without. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Mutation, Table } from "effect-dormouse"
import { ChangeLog, Changes } from "effect-dormouse/changes"
import { Pubsub } from "effect-dormouse/pubsub"

class Item extends Model.Class<Item>("bench/Item")({
  id: Table.key(Schema.String),
  list: Schema.String,
  text: Schema.String,
  done: Schema.Boolean,
  at: Table.insertedAt
}) {}
const items = Table.make("items", Item, { key: "id", indexes: { byList: ["list"] } })

const rpcs = [
  Mutation.make("add", { payload: { list: Schema.String, text: Schema.String } }),
  Mutation.make("tick", { payload: { list: Schema.String } })
] as const
class PlainApi extends Api.make(...rpcs) {}
class FeedApi extends Api.make(...rpcs, Changes.feed("changes", { tables: [items] })) {}

const handlers = {
  add: ({ list, text }: { readonly list: string; readonly text: string }) =>
    Effect.asVoid(items.insert({ list, text, done: false })),
  /** Changes the newest row of a list, and deletes the one before. */
  tick: Effect.fnUntraced(function* ({ list }: { readonly list: string }) {
    const [newest, other] = yield* items.query("byList").eq("list", list).descending.take(2)
    if (newest !== undefined) yield* Effect.orDie(items.patch(newest.id, { done: !newest.done }))
    if (other !== undefined) yield* items.delete(other.id)
  })
}

export const plain = App.make({ api: PlainApi, tables: [items], handlers: PlainApi.toLayer(handlers) })
export const recorded = App.make({
  api: FeedApi,
  tables: [items],
  handlers: FeedApi.toLayer({ ...handlers, changes: () => Effect.void }),
  pubsub: Pubsub.make({ changes: ChangeLog.make() })
})
