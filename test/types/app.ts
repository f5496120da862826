import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import { Api, App, type CallError } from "effect-dormouse"
import { fetchTitle, list, type NoteNotFound, rate, type TooManyStars, write } from "./contract.ts"
import { AuthorId, authors, type Note, NoteId, notes } from "./schema.ts"

class Clean extends Context.Service<Clean, { readonly clean: (text: string) => Effect.Effect<string> }>()(
  "app/Clean"
) {}
class Mail extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void> }>()("app/Mail") {}
const clean = Layer.succeed(Clean, { clean: Effect.succeed })
const mail = Layer.succeed(Mail, { send: () => Effect.void })

class NotesApi extends Api.make(list, write, fetchTitle) {}
const tables = [authors, notes]

const read = { "notes.list": () => notes.query() }
const plain = NotesApi.toLayer({
  ...read,
  "notes.write": ({ author, title }) => notes.insert({ author, title, stars: 0 }),
  "notes.fetchTitle": ({ url }) => Effect.succeed(url)
})
const withServices = NotesApi.toLayer({
  ...read,
  "notes.write": ({ author, title }) =>
    Effect.flatMap(
      Clean.use(({ clean }) => clean(title)),
      (title) => notes.insert({ author, title, stars: 0 })
    ),
  "notes.fetchTitle": ({ url }) =>
    Effect.as(
      Mail.use(({ send }) => send(url)),
      url
    )
})

// An app requires what its handlers require, and nothing if they require nothing.

App.make({ api: NotesApi, tables, handlers: plain })
App.make({ api: NotesApi, tables, handlers: plain, limits: { rowsRead: 10 } })
App.make({ api: NotesApi, tables, handlers: withServices, services: clean, actionServices: mail })
App.make({ api: NotesApi, tables, handlers: withServices, services: Layer.merge(clean, mail), actionServices: mail })

// @ts-expect-error: Property 'services' is missing
App.make({ api: NotesApi, tables, handlers: withServices })

// @ts-expect-error: Property 'actionServices' is missing
App.make({ api: NotesApi, tables, handlers: withServices, services: clean })

// @ts-expect-error: Property 'services' is missing
App.make({ api: NotesApi, tables, handlers: withServices, actionServices: mail })

// Transactions run in the object, actions in the Worker: each has only its own services.

// @ts-expect-error: Type 'Layer<Mail, never, never>' is not assignable to type 'Layer<NoInfer<Clean>, never, never>'
App.make({ api: NotesApi, tables, handlers: withServices, services: mail, actionServices: mail })

// @ts-expect-error: Type 'Layer<Clean, never, never>' is not assignable to type 'Layer<NoInfer<Mail>, never, never>'
App.make({ api: NotesApi, tables, handlers: withServices, services: clean, actionServices: clean })

// Layers of services must not have requirements of their own.
const unready = Layer.effect(Mail, Effect.as(Clean, { send: () => Effect.void }))
// @ts-expect-error: Type 'Clean' is not assignable to type 'never'
App.make({ api: NotesApi, tables, handlers: withServices, services: clean, actionServices: unready })

// The contract must have exactly these handlers.
// @ts-expect-error: Type 'Handler<"notes.fetchTitle">' is not assignable to type 'Handler<"notes.list">'
App.make({ api: NotesApi, tables, handlers: Api.make(list).toLayer(read) })

// @ts-expect-error: Property '"~effect/Layer"' is missing
App.make({ api: NotesApi, tables, handlers: read })

// Layers that can fail are not ready.
// @ts-expect-error: Type 'string' is not assignable to type 'never'
App.make({ api: NotesApi, tables, handlers: Layer.provide(withServices, Layer.effect(Mail, Effect.fail("no"))) })

// @ts-expect-error: 'rowsDeleted' does not exist
App.make({ api: NotesApi, tables, handlers: plain, limits: { rowsDeleted: 10 } })

// A contract is an ordinary `RpcGroup`: Effect's client accepts it, and a call can fail with the errors of its rpc.

class RatingApi extends Api.make(list, rate) {}

export const calling = Effect.gen(function* () {
  const client = yield* RpcClient.make(RatingApi)
  const found: ReadonlyArray<Note> = yield* client["notes.list"]({ author: AuthorId.make("a") })
  const rated = client["notes.rate"]({ id: NoteId.make("n"), stars: 3 })
  const handled: Effect.Effect<void, unknown> = rated.pipe(
    Effect.catchTags({
      NoteNotFound: (_: NoteNotFound) => Effect.void,
      TooManyStars: (_: TooManyStars) => Effect.void,
      CallError: (_: CallError.CallError) => Effect.void
    })
  )

  // @ts-expect-error: is not assignable to type 'never'
  Effect.catchTags(rated, { NoteGone: () => Effect.void })

  // @ts-expect-error: 'string' is not assignable to type 'number'
  client["notes.rate"]({ id: NoteId.make("n"), stars: "three" })

  // @ts-expect-error: Property 'notes.write' does not exist
  client["notes.write"]({ author: AuthorId.make("a"), title: "t" })

  return [found, handled]
})
