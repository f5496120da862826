import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { Calls } from "effect-dormouse"
import { HttpQueries } from "effect-dormouse/http"
import { LocalServer } from "effect-dormouse/node"
import { ChatApi } from "../minimal/api.ts"
import { app } from "../minimal/app.ts"

/** A route of the server's own, beside those of the app. */
const channels = Effect.gen(function* () {
  const { query } = yield* Calls.forTenant(ChatApi, { tenant: "main" })
  const found = yield* Effect.orDie(query("channels.list", {}))
  return HttpServerResponse.text(found.map(({ name }) => name).join("\n"))
})

/** The routes of a server: its own, and those of the app, whose databases are in a folder. */
export const makeRoutes = (folder = fileURLToPath(new URL("data", import.meta.url))) =>
  Layer.mergeAll(HttpRouter.add("GET", "/channels", channels), LocalServer.routes).pipe(
    Layer.provideMerge(LocalServer.layer(app, { folder, queries: HttpQueries.make(ChatApi) }))
  )
