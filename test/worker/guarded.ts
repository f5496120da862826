import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers } from "effect-dormouse/auth"

/**
 * An app whose rpcs have middleware of the author's own: a guard that reads a header, gives the handler a service, refuses,
 * dies, waits, or changes the result.
 */

export class Line extends Model.Class<Line>("test/Line")({
  id: Table.key(Schema.String),
  text: Schema.NonEmptyString,
  by: Schema.String
}) {}

export const lines = Table.make("lines", Line, { key: "id" })

/** The guard's refusal. */
export class Denied extends Schema.TaggedError<Denied>()("Denied", { token: Schema.String }) {}

/** Who holds the token: what the guard gives the handler. */
export class Holder extends Context.Service<Holder, { readonly name: string }>()("test/Holder") {}

export class Guard extends RpcMiddleware.Service<Guard, { provides: Holder; requires: Auth.Auth }>()("test/Guard", {
  error: Denied,
  requiredForClient: true
}) {}

/** What the guard asks its own layer for. */
export class Names extends Context.Service<Names, { readonly of: (token: string) => string | undefined }>()(
  "test/Names"
) {}

const list = Query.make("guarded.list", { payload: {}, success: Schema.Array(Schema.String) }).middleware(Guard)

export class GuardedApi extends Api.make(
  list,
  Query.make("guarded.whoami", { payload: {}, success: Schema.String }).middleware(Guard),
  Query.make("guarded.fail", { payload: {}, success: Schema.String, error: Schema.String }).middleware(Guard),
  Mutation.make("guarded.add", { payload: { text: Schema.NonEmptyString }, success: Schema.String }).middleware(Guard),
  Mutation.make("guarded.count", { payload: { count: Schema.Int } }).middleware(Guard),
  Action.make("guarded.act", { payload: { text: Schema.NonEmptyString }, success: Schema.String }).middleware(Guard),
  /** Streams the name of the holder twice. */
  Action.make("guarded.stream", { payload: {}, success: Schema.String, stream: true }).middleware(Guard),
  Mutation.make("free.add", { payload: { text: Schema.NonEmptyString } }),
  Query.make("free.list", { payload: {}, success: Schema.Array(Schema.String) })
) {}

const texts = Effect.map(lines.query(), (all) => all.map(({ by, text }) => `${by}: ${text}`))

export const guardedHandlers = GuardedApi.toLayer({
  "guarded.list": () => texts,
  "guarded.whoami": () => Effect.map(Holder, ({ name }) => name),
  "guarded.fail": () => Effect.fail("as declared"),
  "guarded.add": Effect.fnUntraced(function* ({ text }) {
    const { name } = yield* Holder
    yield* lines.insert({ text, by: name })
    return name
  }),
  "guarded.count": Effect.fnUntraced(function* ({ count }) {
    const { name } = yield* Holder
    yield* lines.insert({ text: `there are ${count}`, by: name })
  }),
  "guarded.act": Effect.fnUntraced(function* ({ text }) {
    const { name } = yield* Holder
    const calls = yield* Calls.of(GuardedApi)
    yield* Effect.orDie(calls.mutate("free.add", { text }))
    return name
  }),
  "guarded.stream": () => Stream.mapEffect(Stream.range(1, 2), () => Effect.map(Holder, ({ name }) => name)),
  "free.add": ({ text }) => Effect.asVoid(lines.insert({ text, by: "free" })),
  "free.list": () => texts
})

/** How often the guard ran, by rpc, in this isolate. */
export const guarded = new Map<string, number>()

/** What the guard takes a token for, in this isolate: what a token may do can change while its live queries run. */
export const moods = new Map<string, string>()

/** The caller is named by a header of the request that opens a socket or carries a call. */
export const auth = AuthLayers.layer(({ request }) =>
  Effect.succeed(
    Option.some({
      identity: { subject: request.headers.get("x-test-subject"), claims: {} },
      credential: AuthLayers.noCredential
    })
  )
)

/** Everybody may enter every tenant. */
export const enter = () => true

/**
 * The guard. A caller without a token is the object itself, and is called `object`; a caller with a subject is known by it
 * when the token is `subject`.
 */
export const GuardLive = Layer.effect(
  Guard,
  Effect.gen(function* () {
    const names = yield* Names
    return (effect, { headers, rpc }) =>
      Effect.gen(function* () {
        guarded.set(rpc._tag, (guarded.get(rpc._tag) ?? 0) + 1)
        const sent = headers["token"] ?? ""
        const token = moods.get(sent) ?? sent
        if (token === "broken") return yield* Effect.die(new Error("SELECT password FROM vault"))
        if (token === "late") yield* Effect.promise(async () => {})
        const name = token === "subject" ? (yield* Auth.identity).subject : names.of(token)
        if (name == null) return yield* new Denied({ token })
        const given = Effect.provideService(effect, Holder, { name })
        // A result of the middleware's own, of the type that the rpc declares.
        return token === "other value" && rpc._tag === "guarded.list"
          ? yield* Effect.as(given, ["something else"] as never)
          : yield* given
      })
  })
)

export const NamesLive = Layer.succeed(Names, {
  of: (token) => (token === "nobody" ? undefined : token === "" ? "object" : token)
})

/** Reacts to the first line. */
export const counting = App.react(GuardedApi, {
  name: "count",
  query: "guarded.list",
  queryPayload: {},
  mutation: "guarded.count",
  mutationPayload: (all) => (all.length === 1 ? { count: 1 } : undefined)
})

export const guardedApp = App.make({
  api: GuardedApi,
  tables: [lines],
  handlers: guardedHandlers,
  middleware: GuardLive,
  services: NamesLive,
  actionServices: NamesLive
})

/** The same with the reactor. */
export const guardedReactorApp = App.make({
  api: GuardedApi,
  tables: [lines],
  handlers: guardedHandlers,
  middleware: Layer.provide(GuardLive, NamesLive),
  reactors: [counting]
})
