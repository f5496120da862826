import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import { Action, Api, App, Auth, Calls, Handlers, Mutation, Query, type Transactional } from "effect-dormouse"
import { TestApp } from "effect-dormouse/testing"
import { list, write } from "./contract.ts"
import { AuthorId, authors, notes } from "./schema.ts"

/** Services of the author's own. */
class Clean extends Context.Service<Clean, { readonly clean: (text: string) => string }>()("composition/Clean") {}
class Mail extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void> }>()(
  "composition/Mail"
) {}
class Tokens extends Context.Service<Tokens, { readonly valid: (token: string) => boolean }>()("composition/Tokens") {}
const clean = Layer.succeed(Clean, { clean: (text) => text })
const mail = Layer.succeed(Mail, { send: () => Effect.void })
const tokens = Layer.succeed(Tokens, { valid: () => true })

const tables = [authors, notes]

/** Two parts of one app: notes, and mails about them. */
class NotesApi extends Api.make(list, write) {}
class MailApi extends Api.make(
  Action.make("mail.send", { payload: { text: Schema.String }, success: Schema.Int }),
  Mutation.make("mail.sent", { payload: { text: Schema.String } })
) {}

const NotesHandlers = NotesApi.toLayer({
  "notes.list": () => notes.query(),
  "notes.write": ({ author, title }) =>
    Effect.flatMap(Clean, ({ clean }) => notes.insert({ author, title: clean(title), stars: 0 }))
})
const MailHandlers = MailApi.toLayer({
  "mail.send": Effect.fnUntraced(function* ({ text }) {
    const { send } = yield* Mail
    yield* send(text)
    return 1
  }),
  "mail.sent": () => Effect.void
})

// Contracts and handlers are merged, and each part keeps its rpcs, its kinds and what it asks for.

class WholeApi extends Api.merge(NotesApi, MailApi) {}
const whole = Handlers.merge(NotesHandlers, MailHandlers)

App.make({ api: WholeApi, tables, handlers: whole, services: clean, actionServices: mail })

// @ts-expect-error: Property 'services' is missing
App.make({ api: WholeApi, tables, handlers: whole, actionServices: mail })

// @ts-expect-error: Property 'actionServices' is missing
App.make({ api: WholeApi, tables, handlers: whole, services: clean })

// `Layer.mergeAll` merges handlers as well.
App.make({
  api: WholeApi,
  tables,
  handlers: Layer.mergeAll(NotesHandlers, MailHandlers),
  services: clean,
  actionServices: mail
})

// A part that is missing is named.
// @ts-expect-error: Type 'Handler<"mail.send">' is not assignable to type
App.make({ api: WholeApi, tables, handlers: NotesHandlers, services: clean })

// Services that are provided to a part are not asked for again.

App.make({
  api: WholeApi,
  tables,
  handlers: Handlers.merge(NotesHandlers, Layer.provide(MailHandlers, mail)),
  services: clean
})
App.make({
  api: WholeApi,
  tables,
  handlers: Handlers.merge(Layer.provide(NotesHandlers, clean), Layer.provide(MailHandlers, mail))
})
App.make({ api: WholeApi, tables, handlers: Layer.provide(whole, Layer.merge(clean, mail)) })

// @ts-expect-error: Property 'services' is missing
App.make({ api: WholeApi, tables, handlers: Handlers.merge(NotesHandlers, Layer.provide(MailHandlers, mail)) })

// What is provided may need something itself, which the app then asks for.
const cleanByTokens = Layer.effect(Clean, Effect.as(Tokens, { clean: (text: string) => text }))
App.make({
  api: NotesApi,
  tables,
  handlers: Layer.provide(NotesHandlers, cleanByTokens),
  services: tokens,
  actionServices: tokens
})

// A merged contract keeps its kinds: a query of one part still may not write, and calls know the tags of all parts.

WholeApi.toLayer({
  // @ts-expect-error: "a handler of this kind may not use"
  "notes.list": () => notes.insert({ author: AuthorId.make("a"), title: "t", stars: 0 }).pipe(Effect.as([])),
  "notes.write": ({ author, title }) => notes.insert({ author, title, stars: 0 }),
  "mail.send": Effect.fnUntraced(function* () {
    const calls = yield* Calls.of(WholeApi)
    yield* Effect.orDie(calls.mutate("mail.sent", { text: "t" }))
    const all = yield* Effect.orDie(calls.query("notes.list", { author: AuthorId.make("a") }))
    return all.length
  }),
  "mail.sent": () => Effect.void
})

// Middleware is required exactly when an rpc has some.

class Denied extends Schema.TaggedError<Denied>()("Denied", {}) {}
class Account extends Context.Service<Account, { readonly name: string }>()("composition/Account") {}
class Guard extends RpcMiddleware.Service<Guard, { provides: Account; requires: Auth.Auth }>()("composition/Guard", {
  error: Denied
}) {}

class GuardedApi extends Api.make(
  Query.make("name", { success: Schema.String }).middleware(Guard),
  Mutation.make("rename", { payload: { name: Schema.String } })
) {}
const guarded = GuardedApi.toLayer({
  name: () => Effect.map(Account, ({ name }) => name),
  rename: () => Effect.void
})
const GuardLive = Layer.effect(
  Guard,
  Effect.map(Tokens, ({ valid }) => (effect, { headers }) => {
    if (!valid(headers["token"] ?? "")) return Effect.fail(new Denied())
    return Effect.flatMap(Auth.identity, ({ subject }) =>
      Effect.provideService(effect, Account, { name: subject ?? "nobody" })
    )
  })
)

App.make({ api: GuardedApi, tables, handlers: guarded, middleware: GuardLive, services: tokens })
App.make({ api: GuardedApi, tables, handlers: guarded, middleware: Layer.provide(GuardLive, tokens) })

// @ts-expect-error: Property 'middleware' is missing
App.make({ api: GuardedApi, tables, handlers: guarded })

// @ts-expect-error: Property 'services' is missing
App.make({ api: GuardedApi, tables, handlers: guarded, middleware: GuardLive })

// @ts-expect-error: is not assignable to type 'Layer<Guard, never, any>'
App.make({ api: GuardedApi, tables, handlers: guarded, middleware: clean })

// Nothing is asked for in the Worker when no action has middleware.
App.make({
  api: Api.merge(GuardedApi, MailApi),
  tables,
  handlers: Handlers.merge(guarded, MailHandlers),
  middleware: GuardLive,
  services: tokens,
  actionServices: mail
})

// The same for actions, for merged contracts, and for each middleware of an rpc.
class Counted extends RpcMiddleware.Service<Counted>()("composition/Counted") {}
class Timed extends RpcMiddleware.Service<Timed>()("composition/Timed") {}
class CountedApi extends Api.make(
  Action.make("count", { success: Schema.String }).middleware(Counted).middleware(Timed)
) {}
const counted = CountedApi.toLayer({ count: () => Effect.succeed("") })
const CountedLive = Layer.succeed(Counted, (effect) => effect)
const TimedLive = Layer.succeed(Timed, (effect) => effect)
const both = Layer.merge(CountedLive, TimedLive)

App.make({ api: CountedApi, tables: [], handlers: counted, middleware: both })

// @ts-expect-error: Property 'middleware' is missing
App.make({ api: CountedApi, tables: [], handlers: counted })

// @ts-expect-error: is not assignable to type 'Layer<Counted | Timed, never, any>'
App.make({ api: CountedApi, tables: [], handlers: counted, middleware: CountedLive })

// @ts-expect-error: Property 'middleware' is missing
App.make({
  api: Api.merge(CountedApi, MailApi),
  tables,
  handlers: Handlers.merge(counted, MailHandlers),
  actionServices: mail
})

// A handler has what its middleware gives, and only where the middleware is.
const unguarded = GuardedApi.toLayer({
  name: () => Effect.map(Account, ({ name }) => name),
  rename: () => Effect.asVoid(Account)
})
// @ts-expect-error: Property 'services' is missing
App.make({ api: GuardedApi, tables, handlers: unguarded, middleware: Layer.provide(GuardLive, tokens) })

// A service that takes part in transactions is the app's, and not asked for again.

class Ledger extends Context.Service<Ledger, { readonly total: Effect.Effect<number> }>()("composition/Ledger") {}
const ledger: Transactional.Transactional<Ledger, Ledger["Service"]> = {
  tag: Ledger,
  tables: [],
  open: () => ({ total: Effect.succeed(0) })
}
class LedgerApi extends Api.make(Query.make("total", { success: Schema.Number })) {}
const counting = LedgerApi.toLayer({ total: () => Effect.flatMap(Ledger, ({ total }) => total) })
App.make({ api: LedgerApi, tables: [], handlers: counting, transactional: [ledger] })

// @ts-expect-error: Property 'services' is missing
App.make({ api: LedgerApi, tables: [], handlers: counting })

// A test swaps any layer of an app for one that provides the same.

const app = App.make({
  api: Api.merge(WholeApi, GuardedApi),
  tables,
  handlers: Handlers.merge(whole, guarded),
  middleware: Layer.provide(GuardLive, tokens),
  services: clean,
  actionServices: mail
})
const http = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make(() => Effect.never)
)
const guard = Layer.succeed(Guard, (effect) => Effect.provideService(effect, Account, { name: "test" }))

TestApp.layer(app)
TestApp.layer(app, { services: clean, actionServices: mail, middleware: guard, http })
TestApp.layer(app, { identity: { subject: "ada", claims: {} } })

// @ts-expect-error: Type 'Layer<Mail, never, never>' is not assignable to type 'Layer<Clean, never, never>'
TestApp.layer(app, { services: mail })

// @ts-expect-error: Type 'Layer<Clean, never, never>' is not assignable to type 'Layer<Mail, never, never>'
TestApp.layer(app, { actionServices: clean })

// @ts-expect-error: Type 'Layer<Clean, never, never>' is not assignable to type 'Layer<Guard, never, never>'
TestApp.layer(app, { middleware: clean })
