/**
 * The kinds of rpcs as middleware of `effect/rpc`: a transaction around queries and mutations, the services of I/O around
 * actions. The Worker runs actions with it; in the object the executor is the kind, and this is how `RpcServer` gets it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Headers } from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { RequestId } from "effect/rpc/RpcMessage"
import { ActionKind, type CallKind, isKind, MutationKind, middlewaresOf, QueryKind } from "../../contract/Kind.ts"
import { sanitizeExit } from "./ErrorBoundary.ts"

/** Dies when an rpc has middleware that the context does not implement: each call of it would die. */
export const requireMiddleware = (rpcs: Iterable<Rpc.Any>, context: Context.Context<never>): Effect.Effect<void> => {
  for (const rpc of rpcs) {
    for (const middleware of middlewaresOf(rpc)) {
      if (isKind(middleware) || Option.isSome(Context.getOption(context, middleware))) continue
      return Effect.die(
        new Error(
          `${rpc._tag} has the middleware ${middleware.key}, and nothing implements it: give App.make its layer as \`middleware\``
        )
      )
    }
  }
  return Effect.void
}

/** What handlers and middleware get to know about a call. */
export interface HandlerOptions {
  readonly rpc: Rpc.AnyWithProps
  readonly client: Rpc.ServerClient
  readonly requestId: RequestId
  readonly headers: Headers
  readonly payload: unknown
}

type Transact = (
  handler: Effect.Effect<any, any, any>,
  options: HandlerOptions,
  context: Context.Context<any>
) => Exit.Exit<any, any>

/** How the object runs the handlers of its two kinds. */
export interface ObjectKinds {
  readonly query: Transact
  readonly mutation: Transact
}

const refuse = (where: string) => () => Effect.die(new Error(`this rpc does not run ${where}`))

/** The kinds in the object. */
export const objectLayer = (kinds: ObjectKinds): Layer.Layer<CallKind> => {
  const transact =
    (run: Transact) =>
    (handler: Effect.Effect<any, any, any>, options: HandlerOptions): Effect.Effect<any, any, any> =>
      Effect.contextWith((context: Context.Context<any>) => run(handler, options, context))
  return Layer.mergeAll(
    Layer.succeed(QueryKind, transact(kinds.query)),
    Layer.succeed(MutationKind, transact(kinds.mutation)),
    Layer.succeed(ActionKind, refuse("in the object"))
  )
}

/** The kinds in the Worker. `Calls` and `Auth` belong to the caller and are provided with each call. */
export const workerLayer: Layer.Layer<CallKind, never, HttpClient.HttpClient> = Layer.mergeAll(
  Layer.effect(
    ActionKind,
    Effect.map(
      HttpClient.HttpClient,
      (http) =>
        (handler: Effect.Effect<any, any, any>, { rpc }: HandlerOptions): Effect.Effect<any, any, any> =>
          handler.pipe(
            Effect.provideService(HttpClient.HttpClient, http),
            Effect.exit,
            Effect.flatMap((exit) => sanitizeExit(rpc, exit))
          )
    )
  ),
  Layer.succeed(QueryKind, refuse("outside the object")),
  Layer.succeed(MutationKind, refuse("outside the object"))
)
