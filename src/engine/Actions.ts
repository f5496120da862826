import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import type { Scope } from "effect/Scope"
import { Calls } from "../contract/Calls.ts"
import type { Request } from "../protocol/Messages.ts"
import type { App } from "./App.ts"
import * as Dispatch from "./Dispatch.ts"
import { exchange } from "./Exchange.ts"
import type { Session } from "./Host.ts"
import * as Messages from "./HttpMessages.ts"
import * as Server from "./Server.ts"
import { Caller } from "./Transaction.ts"

/** A tenant's object, as seen from outside: it answers requests. */
export type ObjectFetch = (url: string, init: RequestInit) => Promise<Response>

/** Runs actions in the name of a caller, whose calls go to its tenant's object. */
export interface Actions {
  readonly run: (options: {
    readonly requests: ReadonlyArray<Request>
    readonly session: Session
    readonly object: ObjectFetch
    /** Gets each message as it comes; without it they are collected. */
    readonly onMessage?: ((message: FromServerEncoded) => void | Promise<void>) | undefined
  }) => Effect.Effect<ReadonlyArray<FromServerEncoded>>
}

/** Builds the handlers of actions, once for all that run here. */
export const make = <Rpcs extends Rpc.Any>(
  app: App<Rpcs>
): Effect.Effect<Actions, never, HttpClient.HttpClient | Scope> =>
  Effect.gen(function* () {
    const handlers = yield* Layer.build(Layer.merge(app.actions, Dispatch.actions))
    const server = yield* Effect.provideContext(
      Server.make(app.api.declared as RpcGroup.RpcGroup<any>),
      handlers as Context.Context<any>
    )
    const run: Actions["run"] = Effect.fnUntraced(function* ({ object, onMessage, requests, session }) {
      const context = Context.make(Calls, yield* callsTo(app, object, session)).pipe(
        Context.add(Caller, session.identity)
      )
      return yield* Effect.callback<ReadonlyArray<FromServerEncoded>>((resume) => {
        const { resultBytes } = app.limits
        const interruption = new AbortController()
        const { signal } = interruption
        const answers = exchange(server, requests, { context, onMessage, signal, resultBytes })
        void answers.then((answers) => resume(Effect.succeed(answers)))
        // What the handlers do about it is part of the action.
        return Effect.promise(() => {
          interruption.abort()
          return answers
        })
      })
    }, Effect.scoped)
    return { run }
  }) as Effect.Effect<Actions, never, HttpClient.HttpClient | Scope>

/** Calls to the tenant's object in the name of the action's caller, by the stock client. */
const callsTo = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  app: App<Rpcs>,
  object: ObjectFetch,
  session: Session
) {
  const fetch = (url: string | URL, init?: RequestInit) =>
    object(String(url), {
      ...init,
      headers: { ...Object.fromEntries(new Headers(init?.headers)), ...Messages.sessionHeaders(session) }
    })
  const protocol = RpcClient.layerProtocolHttp({ url: Messages.objectUrl }).pipe(
    Layer.provide([RpcSerialization.layerJson, FetchHttpClient.layer]),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch))
  )
  const client: any = yield* RpcClient.make(app.api as unknown as RpcGroup.RpcGroup<any>, { flatten: true }).pipe(
    Effect.provideContext(yield* Layer.build(protocol))
  )
  return { call: client } satisfies Calls["Service"]
})
