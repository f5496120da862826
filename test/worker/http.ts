import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers, Policy } from "effect-dormouse/auth"
import { HttpQueries, Routes } from "effect-dormouse/http"

/** An app with routes, and with queries that are read by GET. */

export class Item extends Model.Class<Item>("test/http/Item")({
  id: Table.key(Schema.String),
  shelf: Schema.String,
  name: Schema.String
}) {}
export const items = Table.make("items", Item, { key: "id", indexes: { byShelf: ["shelf"] } })

/** Who may read one is for a policy to say. */
export class Letter extends Model.Class<Letter>("test/http/Letter")({
  id: Table.key(Schema.String),
  to: Schema.String
}) {}
export const letters = Table.make("letters", Letter, { key: "id" })

export class ShelfEmpty extends Schema.TaggedError<ShelfEmpty>("test/http/ShelfEmpty")(
  "ShelfEmpty",
  { shelf: Schema.String },
  { httpApiStatus: 404 }
) {}
export class ShelfLocked extends Schema.TaggedError<ShelfLocked>("test/http/ShelfLocked")("ShelfLocked", {}) {}

const Order = Schema.Literals(["up", "down"])

export class HttpAppApi extends Api.make(
  Query.make("items.list", {
    payload: {
      shelf: Schema.String,
      limit: Schema.optionalKey(Schema.Int),
      order: Schema.optionalKey(Order),
      reverse: Schema.optionalKey(Schema.Boolean),
      names: Schema.optionalKey(Schema.Array(Schema.String))
    },
    success: Schema.Array(Item)
  }),
  Query.make("items.first", {
    payload: { shelf: Schema.String },
    success: Item,
    error: Schema.Union([ShelfEmpty, ShelfLocked])
  }),
  Query.make("items.count", { success: Schema.Int }),
  Query.make("letters.list", { payload: {}, success: Schema.Array(Letter) }),
  Query.make("me", { payload: {}, success: Schema.NullOr(Schema.String) }),
  Query.make("text", { payload: { length: Schema.Int }, success: Schema.String }),
  Query.make("broken", { payload: {}, success: Schema.Int }),
  Query.make("time", { success: Schema.Int }),
  Mutation.make("items.add", { payload: { shelf: Schema.String, name: Schema.String }, success: Item }),
  Mutation.make("items.rename", { payload: { id: Schema.String, name: Schema.String } }),
  Mutation.make("items.clear", { payload: { shelf: Schema.String } }),
  Mutation.make("letters.write", { payload: { to: Schema.String } }),
  /** Only the webhook calls it. */
  Api.internal(
    Mutation.make("items.deliver", {
      payload: { shelf: Schema.String, names: Schema.Array(Schema.NonEmptyString) },
      success: Schema.NullOr(Schema.String),
      error: ShelfLocked
    })
  ),
  Api.internal(Query.make("items.secret", { success: Schema.Int })),
  Action.make("items.import", { payload: { shelf: Schema.String }, success: Schema.Int }),
  Action.make("items.count.slowly", { payload: { to: Schema.Int }, success: Schema.Int, stream: true })
) {}

/** A service of the author's, which routes and actions have. */
export class Greeting extends Context.Service<Greeting, { readonly text: string }>()("test/http/Greeting") {}

const listed = (shelf: string) => items.query("byShelf").eq("shelf", shelf)

export const HttpAppHandlers = HttpAppApi.toLayer({
  "items.list": ({ limit = 100, names, reverse, shelf }) =>
    Effect.map(listed(shelf).take(limit), (rows) => {
      const found = names === undefined ? rows : rows.filter(({ name }) => names.includes(name))
      return reverse === true ? found.toReversed() : found
    }),
  "items.first": Effect.fnUntraced(function* ({ shelf }) {
    if (shelf === "locked") return yield* new ShelfLocked()
    const [first] = yield* listed(shelf).take(1)
    return first ?? (yield* new ShelfEmpty({ shelf }))
  }),
  "items.count": () => items.query().count,
  "letters.list": () => letters.query(),
  me: () => Effect.map(Auth.identity, ({ subject }) => subject),
  text: ({ length }) => Effect.succeed("x".repeat(length)),
  broken: () => Effect.die(new Error("the secret reason")),
  time: () => Effect.succeed(1),
  "items.add": ({ name, shelf }) => items.insert({ name, shelf }),
  "items.rename": ({ id, name }) => Effect.asVoid(Effect.orDie(items.patch(id, { name }))),
  "items.clear": Effect.fnUntraced(function* ({ shelf }) {
    for (const { id } of yield* listed(shelf)) yield* items.delete(id)
  }),
  "letters.write": ({ to }) => Effect.asVoid(letters.insert({ to })),
  "items.deliver": Effect.fnUntraced(function* ({ names, shelf }) {
    yield* items.insertMany(names.map((name) => ({ name, shelf })))
    // The rows roll back with the failure.
    if (shelf === "locked") return yield* new ShelfLocked()
    return (yield* Auth.identity).subject
  }),
  "items.secret": () => items.query().count,
  "items.import": Effect.fnUntraced(function* ({ shelf }) {
    const { mutate } = yield* Calls.of(HttpAppApi)
    yield* mutate("items.add", { shelf, name: (yield* Greeting).text })
    return 1
  }),
  "items.count.slowly": ({ to }) => Stream.range(1, to)
})

const policies = [
  Policy.make(letters, { read: ({ me, row }) => Policy.eq(row.to, me.subject), insert: () => Policy.allow })
]

/** How often the routes were built, and what else of them tests look at. */
export const built = { routes: 0, failures: 0, triggers: [] as Array<string> }

const DeliveryFromJson = Schema.Struct({ shelf: Schema.String, names: Schema.Array(Schema.String) })

/** A webhook: whoever knows the secret may deliver, in the name that the header says. */
const webhook = Effect.gen(function* () {
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  if (headers["x-secret"] !== "right") return HttpServerResponse.empty({ status: 401 })
  const delivery = yield* HttpServerRequest.schemaBodyJson(DeliveryFromJson)
  const subject = headers["x-supplier"]
  const { mutate } = yield* Calls.forTenant(HttpAppApi, {
    tenant: headers["x-tenant"] ?? "main",
    ...(subject !== undefined && { identity: { subject, claims: {} } })
  })
  const by = yield* mutate("items.deliver", delivery)
  return yield* HttpServerResponse.json({ by })
}).pipe(
  Effect.catchTag("ShelfLocked", () => HttpServerResponse.json({ error: "locked" }, { status: 423 })),
  Effect.catchTag("CallError", ({ reason }) => HttpServerResponse.json({ error: reason._tag }, { status: 502 })),
  Effect.catchTag("SchemaError", () => Effect.succeed(HttpServerResponse.empty({ status: 400 })))
)

class Shop extends HttpApi.make("shop").add(
  HttpApiGroup.make("shelves").add(
    HttpApiEndpoint.get("count", "/api/shelves/:shelf", {
      params: { shelf: Schema.String },
      headers: { "x-dormouse-tenant": Schema.String },
      success: Schema.Struct({ count: Schema.Int, greeting: Schema.String })
    })
  )
) {}

const ShopLive = HttpApiBuilder.layer(Shop).pipe(
  Layer.provide(
    HttpApiBuilder.group(Shop, "shelves", (handlers) =>
      handlers.handle(
        "count",
        Effect.fnUntraced(function* ({ headers, params }) {
          const { query } = yield* Calls.forTenant(HttpAppApi, { tenant: headers["x-dormouse-tenant"] })
          const found = yield* Effect.orDie(query("items.list", { shelf: params.shelf }))
          return { count: found.length, greeting: (yield* Greeting).text }
        })
      )
    )
  )
)

const AllRoutes = Layer.mergeAll(
  HttpRouter.add("POST", "/webhook", webhook),
  HttpRouter.add("GET", "/health", HttpServerResponse.text("well")),
  HttpRouter.add(
    "GET",
    "/greeting",
    Effect.map(Greeting, ({ text }) => HttpServerResponse.text(text))
  ),
  HttpRouter.add("GET", "/broken", Effect.die(new Error("the secret reason"))),
  HttpRouter.add(
    "POST",
    "/act",
    Effect.gen(function* () {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const { act } = yield* Calls.forTenant(HttpAppApi, { tenant: headers["x-dormouse-tenant"] ?? "main" })
      return yield* HttpServerResponse.json(yield* Effect.orDie(act("items.import", { shelf: "acted" })))
    })
  ),
  // It would shadow everything, if it could.
  HttpRouter.add("*", "/rpc/*", HttpServerResponse.text("shadowed")),
  HttpRouter.add("GET", "/page/*", HttpServerResponse.text("page")),
  ShopLive
)

/** Routes that cannot be built while a test says so. */
export const routes = Layer.unwrap(
  Effect.suspend(() => {
    if (built.failures > 0) {
      built.failures--
      return Effect.die(new Error("the secret reason"))
    }
    built.routes++
    return Effect.succeed(AllRoutes)
  })
)

export const app = App.make({
  api: HttpAppApi,
  tables: [items, letters],
  policies,
  handlers: HttpAppHandlers,
  actionServices: Layer.succeed(Greeting, { text: "good day" }),
  limits: { requestBytes: 60_000, resultBytes: 200_000, callsPerIdentity: { limit: 60, window: "1 hour" } }
})

export const page = "https://page.test"

/** What the gateway is told, on both platforms. Callers are named by test tokens. */
export const gatewayOptions = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  tenants: (name: string) => name !== "routed-nobody",
  enter: ({ identity, tenant }: { readonly identity: Auth.Identity; readonly tenant: string }) =>
    !tenant.startsWith("routed-closed") || identity.subject === "ada",
  queries: HttpQueries.make(HttpAppApi, {
    heartbeat: "1 second",
    cache: {
      "items.list": { public: true, maxAge: "1 minute", staleWhileRevalidate: "5 minutes" },
      "letters.list": { public: true, maxAge: "1 minute" },
      me: { public: true, maxAge: "1 minute" },
      "items.count": { maxAge: "10 seconds" }
    }
  }),
  cors: { origins: [page], credentials: true },
  origins: [page]
}

export const options = {
  ...gatewayOptions,
  routes: Routes.make(routes),
  scheduled: {
    "0 * * * *": Effect.fnUntraced(function* ({ scheduledTime }: { readonly scheduledTime: number }) {
      const { mutate } = yield* Calls.forTenant(HttpAppApi, { tenant: "routed-scheduled", identity: Auth.system })
      yield* mutate("items.add", { shelf: "clock", name: `${scheduledTime} ${(yield* Greeting).text}` })
    }),
    "1 * * * *": () => Effect.fail("the secret reason")
  }
}

/** Whether a tenant, or an object, belongs to this app. */
export const isHttp = (name: string | null | undefined): boolean => name?.startsWith("routed-") === true
