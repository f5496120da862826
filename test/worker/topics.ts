import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers } from "effect-dormouse/auth"
import { EventStream, Presence, Pubsub, Topic } from "effect-dormouse/pubsub"

/** An app with rooms: who is a member may read what is said there, and no table holds it. */

class Member extends Model.Class<Member>("test/topics/Member")({
  id: Table.key(Schema.String),
  room: Schema.String,
  subject: Schema.String
}) {}
const members = Table.make("members", Member, { key: "id", indexes: { byRoom: ["room", "subject"] } })

class NoMember extends Schema.TaggedError<NoMember>("test/topics/NoMember")("NoMember", { room: Schema.String }) {}

/** Everybody reads it. */
export const Said = Topic.make("said", { key: { room: Schema.String }, message: { text: Schema.String } })
/** Members read it. */
export const Told = Topic.make("told", {
  key: { room: Schema.String },
  message: { text: Schema.String, at: Schema.DateFromString },
  error: NoMember,
  buffer: 3
})
/** A slow reader gets the latest. */
export const Latest = Topic.make("latest", { key: Schema.String, message: Schema.Int, buffer: 1 })

/** Members read it, and nobody misses any of the last messages. */
export const Tokens = Topic.make("tokens", {
  key: { room: Schema.String },
  message: { text: Schema.String },
  error: NoMember,
  history: 40
})
/** Only the latest message is stored. */
export const Newest = Topic.make("newest", { key: Schema.String, message: Schema.Int, history: 1 })

/** No client reads it. */
export const Secret = Topic.make("secret", { key: Schema.String, message: Schema.String })

/** Who is in a room. Nobody comes into the closed one. */
export const Here = Presence.make("here", {
  key: { room: Schema.String },
  state: { mood: Schema.String },
  error: NoMember
})

export class TopicsApi extends Api.make(
  Said,
  Told,
  Latest,
  Tokens,
  Newest,
  Api.internal(Secret),
  ...Here.rpcs,
  Query.make("members", { payload: {}, success: Schema.Array(Schema.String) }),
  Mutation.make("join", { payload: { room: Schema.String, subject: Schema.String } }),
  Mutation.make("leave", { payload: { room: Schema.String, subject: Schema.String } }),
  Mutation.make("say", { payload: { room: Schema.String, texts: Schema.Array(Schema.String) } }),
  /** Publishes and writes, and fails. */
  Mutation.make("rolledBack", {
    payload: { room: Schema.String, how: Schema.Literals(["fail", "die"]) },
    error: NoMember
  }),
  /** Publishes three times, once in a part that is rolled back. */
  Mutation.make("partly", { payload: { room: Schema.String } }),
  Mutation.make("tell", { payload: { room: Schema.String, texts: Schema.Array(Schema.String) } }),
  /** Removes a member and tells the others. */
  Mutation.make("expel", { payload: { room: Schema.String, subject: Schema.String, text: Schema.String } }),
  Mutation.make("count", { payload: { key: Schema.String, numbers: Schema.Array(Schema.Int) } }),
  /** Publishes messages one by one, or together. */
  Mutation.make("emit", {
    payload: { room: Schema.String, texts: Schema.Array(Schema.String), together: Schema.optionalKey(Schema.Boolean) }
  }),
  Mutation.make("emitAndFail", { payload: { room: Schema.String }, error: NoMember }),
  Mutation.make("number", { payload: { key: Schema.String, numbers: Schema.Array(Schema.Int) } }),
  Query.make("tokens.newest", { payload: { room: Schema.String }, success: Topic.After }),
  /** Publishes words as a model emits them. */
  Action.make("generate", { payload: { room: Schema.String, words: Schema.Array(Schema.String) } }),
  Mutation.make("large", { payload: { length: Schema.Int } }),
  Action.make("act", { payload: { room: Schema.String, text: Schema.String } })
) {}

const requireMember = Effect.fnUntraced(function* (room: string) {
  const { subject } = yield* Auth.identity
  const isMember = yield* members
    .query("byRoom")
    .eq("room", room)
    .eq("subject", subject ?? "").exists
  if (!isMember) return yield* new NoMember({ room })
})

const remove = Effect.fnUntraced(function* (room: string, subject: string) {
  for (const { id } of yield* members.query("byRoom").eq("room", room).eq("subject", subject)) yield* members.delete(id)
})

const tell = (room: string, texts: ReadonlyArray<string>) =>
  Effect.forEach(texts, (text) => Told.publish({ room }, { text, at: new Date(0) }), { discard: true })

export const TopicsHandlers = TopicsApi.toLayer({
  said: () => Effect.void,
  told: ({ room }) => requireMember(room),
  latest: () => Effect.void,
  tokens: ({ key: { room } }) => requireMember(room),
  newest: () => Effect.void,
  secret: () => Effect.void,
  here: ({ room }) => Here.peers({ room }),
  "here.join": ({ key: { room } }) => (room === "closed" ? Effect.fail(new NoMember({ room })) : Effect.void),
  members: () => Effect.map(members.query(), (rows) => rows.map(({ room, subject }) => `${room} ${subject}`)),
  join: ({ room, subject }) => Effect.asVoid(members.insert({ room, subject })),
  leave: ({ room, subject }) => remove(room, subject),
  say: ({ room, texts }) => Effect.forEach(texts, (text) => Said.publish({ room }, { text }), { discard: true }),
  rolledBack: Effect.fnUntraced(function* ({ how, room }) {
    yield* members.insert({ room, subject: "nobody" })
    yield* Said.publish({ room }, { text: "rolled back" })
    if (how === "die") return yield* Effect.die(new Error("rolled back"))
    return yield* new NoMember({ room })
  }),
  partly: Effect.fnUntraced(function* ({ room }) {
    yield* Said.publish({ room }, { text: "before" })
    yield* Effect.ignore(
      Table.atomically(Effect.andThen(Said.publish({ room }, { text: "rolled back" }), Effect.fail("no")))
    )
    yield* Said.publish({ room }, { text: "after" })
  }),
  tell: ({ room, texts }) => tell(room, texts),
  expel: ({ room, subject, text }) => Effect.andThen(remove(room, subject), tell(room, [text])),
  count: ({ key, numbers }) => Effect.forEach(numbers, (number) => Latest.publish(key, number), { discard: true }),
  emit: ({ room, texts, together = false }) => {
    const messages = texts.map((text) => ({ text }))
    if (together) return Tokens.publishAll({ room }, messages)
    return Effect.forEach(messages, (message) => Tokens.publish({ room }, message), { discard: true })
  },
  emitAndFail: ({ room }) =>
    Effect.andThen(Tokens.publish({ room }, { text: "rolled back" }), Effect.fail(new NoMember({ room }))),
  number: ({ key, numbers }) => Newest.publishAll(key, numbers),
  "tokens.newest": ({ room }) => Tokens.newest({ room }),
  generate: ({ room, words }) =>
    Tokens.publishStream(
      { room },
      Stream.map(Stream.fromIterable(words), (text) => ({ text }))
    ),
  large: ({ length }) => Said.publish({ room: "large" }, { text: "x".repeat(length) }),
  act: Effect.fnUntraced(function* ({ room, text }) {
    const { query } = yield* Calls.of(TopicsApi)
    yield* query("members", {})
    yield* Said.publish({ room }, { text })
  })
})

export const app = App.make({
  api: TopicsApi,
  tables: [members],
  handlers: TopicsHandlers,
  pubsub: Pubsub.make({ events: EventStream.make() })
})

/** Callers are named by test tokens. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true
}

/** Whether a tenant, or an object, belongs to this app. */
export const isTopics = (name: string | null | undefined): boolean => name?.startsWith("topics-") === true
