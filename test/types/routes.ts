import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { Api, App, Calls } from "effect-dormouse"
import { HttpQueries, Routes } from "effect-dormouse/http"
import { TestApp } from "effect-dormouse/testing"
import { fetchTitle, list, write } from "./contract.ts"
import { AuthorId, authors, notes } from "./schema.ts"

class Mail extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void> }>()("app/Mail") {}

class NotesApi extends Api.make(list, write, fetchTitle) {}
const tables = [authors, notes]
const transactions = {
  "notes.list": () => notes.query(),
  "notes.write": ({ author, title }: { readonly author: typeof AuthorId.Type; readonly title: string }) =>
    notes.insert({ author, title, stars: 0 })
}
const app = App.make({
  api: NotesApi,
  tables,
  handlers: NotesApi.toLayer({ ...transactions, "notes.fetchTitle": ({ url }) => Effect.succeed(url) })
})
const withMail = App.make({
  api: NotesApi,
  tables,
  handlers: NotesApi.toLayer({
    ...transactions,
    "notes.fetchTitle": ({ url }) =>
      Effect.as(
        Mail.use(({ send }) => send(url)),
        url
      )
  }),
  actionServices: Layer.succeed(Mail, { send: () => Effect.void })
})

// Routes have the services of actions, an HttpClient and calls of tenants.

const plain = Routes.make(HttpRouter.add("GET", "/health", HttpServerResponse.text("well")))
const mailing = Routes.make(
  HttpRouter.add(
    "POST",
    "/mail",
    Effect.as(
      Mail.use(({ send }) => send("hello")),
      HttpServerResponse.empty()
    )
  )
)
const calling = Routes.make(
  HttpRouter.add(
    "GET",
    "/notes",
    Effect.gen(function* () {
      const { act, mutate, query } = yield* Calls.forTenant(NotesApi, { tenant: "a" })
      const found = yield* Effect.orDie(query("notes.list", { author: AuthorId.make("a") }))

      // @ts-expect-error: Argument of type '"notes.list"' is not assignable to parameter of type '"notes.write"'
      mutate("notes.list", { author: AuthorId.make("a") })

      // @ts-expect-error: Argument of type '"notes.write"' is not assignable to parameter of type '"notes.fetchTitle"'
      act("notes.write", { author: AuthorId.make("a"), title: "t" })

      return yield* HttpServerResponse.json(found.length)
    })
  )
)

TestApp.layer(app, { routes: plain })
TestApp.layer(app, { routes: calling })
TestApp.layer(withMail, { routes: mailing })

// @ts-expect-error: Type 'Mail' is not assignable to type 'HttpClient | TenantCalls'
TestApp.layer(app, { routes: mailing })

// What caches are told is told of the queries of the contract.

HttpQueries.make(NotesApi, { cache: { "notes.list": { maxAge: "1 minute" } } })

// @ts-expect-error: '"notes.write"' does not exist
HttpQueries.make(NotesApi, { cache: { "notes.write": { maxAge: "1 minute" } } })
