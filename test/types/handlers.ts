import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import * as EffectWorkflow from "effect/workflow/Workflow"
import { Action, Api, App, Auth, Calls, type Handlers, Mutation, Storage } from "effect-dormouse"
import { Jobs } from "effect-dormouse/jobs"
import { Workflows } from "effect-dormouse/workflows"
import { count, fetchTitle, list, NoteNotFound, rate, TooManyStars, words, write } from "./contract.ts"
import { AuthorId, type Note, NoteId, notes } from "./schema.ts"

/** The author's own services. */
class Clean extends Context.Service<Clean, { readonly clean: (text: string) => Effect.Effect<string> }>()(
  "types/Clean"
) {}
class Mail extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void> }>()("types/Mail") {}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_T extends true>() => {}
/** What an implementation requires in its transactions and in its actions. */
type Needs<H> =
  H extends Layer.Layer<infer Out, infer _E, infer In>
    ? [Handlers.TransactionServices<Out, In>, Handlers.ActionServices<Out, In>]
    : never

class NotesApi extends Api.make(list, count, write, rate, fetchTitle, words) {}
const author = AuthorId.make("a")

// Compiles: each kind uses its own services; payloads are typed by the contract.

const plain = NotesApi.toLayer({
  "notes.list": ({ author }) => notes.query("byAuthor").eq("author", author).descending.take(10),
  "notes.count": () => Effect.andThen(SqlClient.SqlClient, () => notes.query().count),
  "notes.write": Effect.fnUntraced(function* ({ author, title }) {
    yield* Auth.identity
    return yield* notes.insert({ author, title, stars: 0 })
  }),
  "notes.rate": Effect.fnUntraced(function* ({ id, stars }) {
    if (stars > 5) return yield* new TooManyStars({ stars })
    yield* notes.patch(id, { stars }).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new NoteNotFound({ id }))))
  }),
  "notes.fetchTitle": Effect.fnUntraced(
    function* ({ url }) {
      const response = yield* HttpClient.get(url)
      return yield* response.text
    },
    (effect) => Effect.orDie(effect)
  ),
  "notes.words": ({ id }) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const calls = yield* Calls.of(NotesApi)
        yield* Effect.orDie(calls.mutate("notes.rate", { id, stars: 1 }))
        const all = yield* Effect.orDie(calls.query("notes.list", { author }))
        return Stream.fromIterable(all.map((note) => note.title))
      })
    )
})
holds<Same<Needs<typeof plain>, [never, never]>>()

// What a handler requires besides the services of its kind becomes a requirement of the app, separately per kind.

const withServices = Api.make(list, write, fetchTitle).toLayer({
  "notes.list": () => notes.query(),
  "notes.write": Effect.fnUntraced(function* ({ author, title }) {
    const { clean } = yield* Clean
    return yield* notes.insert({ author, title: yield* clean(title), stars: 0 })
  }),
  "notes.fetchTitle": Effect.fnUntraced(function* ({ url }) {
    const { send } = yield* Mail
    yield* send(url)
    return url
  })
})
holds<Same<Needs<typeof withServices>, [Clean, Mail]>>()

// Transforms of `Effect.fnUntraced` are part of the handler: they can provide services, and require more.

const transformed = Api.make(write).toLayer({
  "notes.write": Effect.fnUntraced(
    function* ({ author, title }) {
      const { clean } = yield* Clean
      return yield* notes.insert({ author, title: yield* clean(title), stars: 0 })
    },
    (effect) => Effect.provideService(effect, Clean, { clean: Effect.succeed }),
    (effect, { title }) => Effect.tap(effect, () => Mail.use(({ send }) => send(title)))
  )
})
holds<Same<Needs<typeof transformed>, [Mail, never]>>()

// An effect can build the handlers.

const built = Api.make(list, fetchTitle).toLayer(
  Effect.gen(function* () {
    const { send } = yield* Mail
    return {
      "notes.list": ({ author }: { readonly author: typeof AuthorId.Type }) =>
        notes.query("byAuthor").eq("author", author),
      "notes.fetchTitle": ({ url }: { readonly url: string }) => Effect.as(send(url), url)
    }
  })
)
holds<Same<Needs<typeof built>, [Mail, Mail]>>()

// Effect's middleware and annotations work on rpcs of every kind, and middleware can provide services.

class Session extends Context.Service<Session, { readonly user: string }>()("types/Session") {}
class WithSession extends RpcMiddleware.Service<WithSession, { provides: Session }>()("types/WithSession") {}
class Public extends Context.Service<Public, boolean>()("types/Public") {}

const guarded = Api.make(write.middleware(WithSession).annotate(Public, false), list.annotate(Public, true)).toLayer({
  "notes.list": () => notes.query(),
  "notes.write": Effect.fnUntraced(function* ({ author }) {
    const { user } = yield* Session
    return yield* notes.insert({ author, title: user, stars: 0 })
  })
})
holds<Same<Needs<typeof guarded>, [never, never]>>()

// A query only reads.

Api.make(list).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": StorageWriter
  "notes.list": ({ author }) => Effect.map(notes.insert({ author, title: "t", stars: 0 }), (note) => [note])
})

Api.make(list).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": StorageWriter
  "notes.list": Effect.fnUntraced(function* ({ author }) {
    yield* Storage.StorageWriter
    return yield* notes.query("byAuthor").eq("author", author)
  })
})

Api.make(count).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": Calls
  "notes.count": () => Effect.as(Calls.of(NotesApi), 1)
})

Api.make(count).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": HttpClient
  "notes.count": () => Effect.as(Effect.orDie(HttpClient.get("https://example.org")), 1)
})

// A mutation does no I/O and makes no calls.

Api.make(write).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": HttpClient
  "notes.write": Effect.fnUntraced(function* ({ author, title }) {
    yield* Effect.orDie(HttpClient.get("https://example.org"))
    return yield* notes.insert({ author, title, stars: 0 })
  })
})

Api.make(write).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": Calls
  "notes.write": Effect.fnUntraced(function* ({ author, title }) {
    yield* Calls.of(NotesApi)
    return yield* notes.insert({ author, title, stars: 0 })
  })
})

// An action does not access rows.

Api.make(fetchTitle).toLayer({
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": Storage
  "notes.fetchTitle": () => Effect.as(Effect.orDie(notes.get(NoteId.make("n"))), "")
})

Api.make(fetchTitle).toLayer({
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": Storage
  "notes.fetchTitle": Effect.fnUntraced(function* () {
    const note = yield* notes.get(NoteId.make("n"))
    return note.title
  })
})

Api.make(fetchTitle).toLayer({
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": StorageWriter
  "notes.fetchTitle": () => Effect.as(Effect.orDie(notes.delete(NoteId.make("n"))), "")
})

Api.make(fetchTitle).toLayer({
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": SqlClient
  "notes.fetchTitle": () => Effect.as(SqlClient.SqlClient, "")
})

Api.make(words).toLayer({
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": Storage
  "notes.words": () => Stream.orDie(Stream.map(notes.query().stream, (note) => note.title))
})

// The same applies to handlers that an effect builds.

Api.make(count).toLayer(
  // @ts-expect-error: "a handler of this kind may not use": Calls
  Effect.succeed({ "notes.count": () => Effect.as(Calls.of(NotesApi), 1) })
)

// The handlers must be exactly those of the contract.

// @ts-expect-error: Property '"notes.count"' is missing
Api.make(list, count).toLayer({ "notes.list": () => notes.query() })

Api.make(list).toLayer({
  "notes.list": () => notes.query(),
  // @ts-expect-error: "the contract has no such rpc": "notes.count"
  "notes.count": () => Effect.succeed(1)
})

// Payload, success and errors are typed by the contract.

Api.make(list).toLayer({
  // @ts-expect-error: Property 'writer' does not exist
  "notes.list": ({ writer }) => notes.query("byAuthor").eq("author", writer)
})

Api.make(count).toLayer({
  // @ts-expect-error: Type 'string' is not assignable to type 'number'
  "notes.count": () => Effect.succeed("one")
})

Api.make(write).toLayer({
  // @ts-expect-error: is missing the following properties from type 'Note': id, writtenAt
  "notes.write": ({ author, title }) => Effect.succeed({ author, title, stars: 0 })
})

Api.make(write).toLayer({
  // @ts-expect-error: "declare this failure in the rpc's error": TooManyStars
  "notes.write": () => Effect.fail(new TooManyStars({ stars: 6 }))
})

Api.make(list).toLayer({
  // @ts-expect-error: "declare this failure in the rpc's error": RowNotFound
  "notes.list": () => Effect.map(notes.get(NoteId.make("n")), (note) => [note])
})

Api.make(fetchTitle).toLayer({
  // @ts-expect-error: "declare this failure in the rpc's error": HttpClientError
  "notes.fetchTitle": ({ url }) => Effect.flatMap(HttpClient.get(url), (response) => response.text)
})

Api.make(list).toLayer({
  "notes.list": Effect.fnUntraced(function* ({ author }) {
    // @ts-expect-error: is not assignable to type 'number'
    const wrong: number = author
    return yield* notes.query("byAuthor").eq("author", author).take(wrong)
  })
})

Api.make(words).toLayer({
  // @ts-expect-error: Effect
  "notes.words": () => Effect.succeed("one")
})

Api.make(words).toLayer({
  // @ts-expect-error: "declare this failure in the rpc's error": TooManyStars
  "notes.words": () => Stream.fail(new TooManyStars({ stars: 6 }))
})

Api.make(write).toLayer(
  // @ts-expect-error: "declare this failure in the rpc's error": TooManyStars
  Effect.succeed({ "notes.write": () => Effect.fail(new TooManyStars({ stars: 6 })) })
)

// Calls are typed by the contract.

export const calling = Effect.gen(function* () {
  const calls = yield* Calls.of(NotesApi)
  const found: ReadonlyArray<Note> = yield* calls.query("notes.list", { author })
  const written: Note = yield* calls.mutate("notes.write", { author, title: "t" })

  // @ts-expect-error: '"notes.write"' is not assignable
  yield* calls.query("notes.write", { author, title: "t" })

  // @ts-expect-error: '"notes.list"' is not assignable
  yield* calls.mutate("notes.list", { author })

  // @ts-expect-error: '"notes.fetchTitle"' is not assignable
  yield* calls.query("notes.fetchTitle", { url: "" })

  // @ts-expect-error: 'title' is missing
  yield* calls.mutate("notes.write", { author })

  return [found, written]
})

// A query starts no workflow, an action has no executions, and an app that starts one has workflows.

const Flow = EffectWorkflow.make("Flow", { payload: { id: Schema.String }, idempotencyKey: ({ id }) => id })
const FlowLive = Flow.toLayer(() => Effect.asVoid(Calls.of(NotesApi)))

Api.make(count).toLayer({
  // @ts-expect-error: "a handler of this kind may not use": WorkflowEngine
  "notes.count": () => Effect.as(Workflows.start(Flow, { id: "1" }), 1)
})

class FlowApi extends Api.make(Mutation.make("begin", { payload: {} }), Action.make("look", { payload: {} })) {}

FlowApi.toLayer({
  begin: () => Effect.void,
  // @ts-expect-error: "an action may not use tables or SQL, only call queries and mutations": Executions
  look: () => Effect.asVoid(Workflows.list())
})

const flowHandlers = FlowApi.toLayer({
  begin: () => Effect.asVoid(Workflows.start(Flow, { id: "1" })),
  look: () => Effect.asVoid(Flow.execute({ id: "1" }))
})

App.make({
  api: FlowApi,
  tables: [],
  handlers: flowHandlers,
  // @ts-expect-error: WithWorkflows
  jobs: Jobs.make()
})

App.make({ api: FlowApi, tables: [], handlers: flowHandlers, jobs: Workflows.make({ workflows: [FlowLive] }) })
