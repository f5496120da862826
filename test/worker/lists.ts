import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Auth, Mutation, Query, Table } from "effect-dormouse"

/** An app with lists of items, and with every kind of query that live queries treat differently. */

export class List extends Model.Class<List>("lists/List")({ id: Schema.String, title: Schema.String }) {}
export const lists = Table.make("lists", List, { key: "id" })

export class Item extends Model.Class<Item>("lists/Item")({
  id: Table.key(Schema.String),
  list: Schema.String,
  owner: Schema.String,
  title: Schema.String,
  rank: Schema.Int
}) {}
export const items = Table.make("items", Item, {
  key: "id",
  indexes: { byList: ["list", "rank"], byOwner: ["owner", "rank"] },
  references: { list: { table: () => lists, onDelete: "cascade" } }
})

/** Flags that change what handlers do. */
export class Flag extends Model.Class<Flag>("lists/Flag")({ id: Schema.String }) {}
export const flags = Table.make("flags", Flag, { key: "id" })

export class Broken extends Schema.TaggedError<Broken>()("Broken", { why: Schema.String }) {}

export class ListsApi extends Api.make(
  Query.make("lists", { payload: {}, success: Schema.Array(List) }),
  Query.make("items", { payload: { list: Schema.String, limit: Schema.Int }, success: Schema.Array(Item) }),
  Query.make("items.count", { payload: { list: Schema.String }, success: Schema.Int }),
  /** The items of the caller. */
  Query.make("items.mine", { payload: {}, success: Schema.Array(Item) }),
  /** All items of a list, or those of the caller while the flag `private` is set. */
  Query.make("items.visible", { payload: { list: Schema.String }, success: Schema.Array(Item) }),
  /** Fails while the flag `broken` is set. */
  Query.make("items.fragile", { payload: { list: Schema.String }, success: Schema.Array(Item), error: Broken }),
  /** The items of a list, and the time of the query. */
  Query.make("items.timed", {
    payload: { list: Schema.String },
    success: Schema.Struct({ items: Schema.Array(Item), at: Schema.Finite })
  }),
  /** The items of several lists, each from a rank on, in the order of the payload. */
  Query.make("items.from", {
    payload: { ranks: Schema.Record(Schema.String, Schema.Int) },
    success: Schema.Array(Item)
  }),
  /** Reads nothing. */
  Query.make("constant", { payload: {}, success: Schema.Int }),
  Mutation.make("lists.add", { payload: { id: Schema.String }, success: List }),
  Mutation.make("lists.remove", { payload: { id: Schema.String }, success: Schema.Boolean }),
  Mutation.make("items.add", {
    payload: {
      list: Schema.String,
      title: Schema.String,
      rank: Schema.Int,
      id: Schema.optionalKey(Schema.String),
      owner: Schema.optionalKey(Schema.String)
    },
    success: Item
  }),
  Mutation.make("items.rename", { payload: { id: Schema.String, title: Schema.String }, success: Item }),
  Mutation.make("items.move", { payload: { id: Schema.String, list: Schema.String, rank: Schema.Int }, success: Item }),
  /** Writes an item, then fails. */
  Mutation.make("items.addAndFail", { payload: { list: Schema.String }, success: Item, error: Broken }),
  Mutation.make("flags.set", { payload: { id: Schema.String, on: Schema.Boolean }, success: Schema.Boolean })
) {}

const isSet = (flag: string) => Effect.map(flags.query().eq("id", flag).first, Option.isSome)

export const ListsHandlers = ListsApi.toLayer({
  lists: () => lists.query(),
  items: ({ limit, list }) => items.query("byList").eq("list", list).take(limit),
  "items.count": ({ list }) => items.query("byList").eq("list", list).count,
  "items.mine": Effect.fnUntraced(function* () {
    const { subject } = yield* Auth.identity
    return yield* items.query("byOwner").eq("owner", subject ?? "")
  }),
  "items.visible": Effect.fnUntraced(function* ({ list }) {
    const all = yield* items.query("byList").eq("list", list)
    if (!(yield* isSet("private"))) return all
    const { subject } = yield* Auth.identity
    return all.filter(({ owner }) => owner === subject)
  }),
  "items.fragile": Effect.fnUntraced(function* ({ list }) {
    if (yield* isSet("broken")) return yield* new Broken({ why: "the flag is set" })
    return yield* items.query("byList").eq("list", list)
  }),
  "items.timed": Effect.fnUntraced(function* ({ list }) {
    return { items: yield* items.query("byList").eq("list", list), at: yield* Clock.currentTimeMillis }
  }),
  "items.from": Effect.fnUntraced(function* ({ ranks }) {
    const found = yield* Effect.forEach(Object.entries(ranks), ([list, rank]) =>
      items.query("byList").eq("list", list).gte("rank", rank)
    )
    return found.flat()
  }),
  constant: () => Effect.succeed(1),
  "lists.add": ({ id }) => lists.insert({ id, title: `list ${id}` }),
  "lists.remove": ({ id }) => lists.delete(id),
  "items.add": ({ owner = "nobody", ...item }) => items.insert({ ...item, owner }),
  "items.rename": ({ id, title }) => Effect.orDie(items.patch(id, { title })),
  "items.move": ({ id, ...changes }) => Effect.orDie(items.patch(id, changes)),
  "items.addAndFail": Effect.fnUntraced(function* ({ list }) {
    yield* items.insert({ list, owner: "nobody", title: "never", rank: 0 })
    return yield* new Broken({ why: "requested" })
  }),
  "flags.set": Effect.fnUntraced(function* ({ id, on }) {
    if (on) yield* flags.upsert({ id })
    else yield* flags.delete(id)
    return on
  })
})

export const app = App.make({ api: ListsApi, tables: [lists, items, flags], handlers: ListsHandlers })
