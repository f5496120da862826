/**
 * Routes of the author's own beside `/rpc`: a layer of Effect's `HttpRouter`, or of an `HttpApi`, as the option `routes` of a
 * deployment. An app without routes does not bundle the router.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerError from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"

/** Answers a request; with nothing if no route is for it. */
export type AnswerRoute = (request: Request) => Promise<Response | undefined>

/** Routes, from `make`. `R` is what they require. */
export interface Routes<out R = never> {
  /** Builds them, once for an isolate. */
  readonly build: Effect.Effect<AnswerRoute, unknown, R | Scope>
}

/** What a server for web requests provides to every route. */
type Served = Layer.Success<typeof HttpServer.layerServices> | HttpRouter.HttpRouter | HttpServerRequest | Scope

/** What routes require of their deployment: when they are built, and when they handle a request. */
export type Requires<R> = Exclude<
  HttpRouter.Request.Without<R> | HttpRouter.Request.Only<"Requires", R> | HttpRouter.Request.Only<"GlobalRequires", R>,
  Served
>

/** Whether no route was for a request. */
class Unmatched extends Context.Service<Unmatched, { found: boolean }>()("effect-dormouse/Unmatched") {}

const isUnmatched = (error: unknown): boolean =>
  HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound"

/**
 * Routes of a deployment. They are asked for every path that is not one of Dormouse's own: `/rpc`, whatever begins with `/rpc/`,
 * and in an app with files what begins with `/files/`.
 */
export const make = <A, E, R>(routes: Layer.Layer<A, E, R>): Routes<Requires<R>> => {
  // The compiler cannot compute with an unknown R. What is left of it is what `Requires` says.
  const build: Effect.Effect<AnswerRoute, unknown, any> = Effect.gen(function* () {
    const app: Answered = yield* HttpRouter.toHttpEffect(Layer.provide(routes, HttpServer.layerServices))
    const context: Context.Context<any> = yield* Effect.context<any>()
    const answer = HttpEffect.toWebHandlerWith<any, any>(context)(answered(app))
    return async (request: Request) => {
      const unmatched = { found: false }
      const response = await answer(request, Context.make(Unmatched, unmatched))
      return unmatched.found ? undefined : response
    }
  })
  return { build }
}

type Answered = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, any>

/** The response of a route, whatever happens in it: a cause is logged, and its caller gets the status alone. */
const answered = (app: Answered): Answered =>
  app.pipe(
    Effect.catchIf(isUnmatched, () =>
      Effect.map(Unmatched, (unmatched) => {
        unmatched.found = true
        return HttpServerResponse.empty({ status: 404 })
      })
    ),
    Effect.catchCause((cause) =>
      Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) =>
        response.status < 500 ? Effect.succeed(response) : Effect.as(Effect.logError("a route failed", cause), response)
      )
    )
  )
