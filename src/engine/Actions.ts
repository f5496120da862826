import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import { exitSchema } from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { Calls } from "../contract/Calls.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
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
      const context = Context.make(Calls, callsTo(app, object, session)).pipe(Context.add(Caller, session.identity))
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
    })
    return { run }
  }) as Effect.Effect<Actions, never, HttpClient.HttpClient | Scope>

/** Calls to the tenant's object in the name of the action's caller. */
const callsTo = <Rpcs extends Rpc.Any>(app: App<Rpcs>, object: ObjectFetch, session: Session): Calls["Service"] => ({
  call: Effect.fnUntraced(function* (tag, payload) {
    const rpc = app.api.declared.requests.get(tag) as unknown as Rpc.AnyWithProps
    const { decodeExit, encodePayload } = codecsOf(rpc)
    const request = { _tag: "Request", id: "0", tag, payload: encodePayload(payload), headers: [] }
    const answers = yield* Effect.tryPromise({
      try: async () => {
        const headers = Messages.sessionHeaders(session)
        const response = await object(Messages.objectUrl, { method: "POST", headers, body: JSON.stringify(request) })
        return (await response.json()) as ReadonlyArray<FromServerEncoded>
      },
      catch: () => new CallError({ reason: new Unavailable({ detail: "the tenant's object did not answer" }) })
    })
    const answer = answers.find(({ _tag }) => _tag === "Exit")
    return yield* decodeExit((answer as { readonly exit: unknown } | undefined)?.exit)
  })
})

interface Codecs {
  readonly encodePayload: (payload: unknown) => unknown
  readonly decodeExit: (input: unknown) => Exit.Exit<unknown, unknown>
}

const codecs = new WeakMap<Rpc.AnyWithProps, Codecs>()

const codecsOf = (rpc: Rpc.AnyWithProps): Codecs => {
  let found = codecs.get(rpc)
  if (found === undefined) {
    const payload = rpc.payloadSchema as Schema.Codec<unknown, unknown>
    const encode = Schema.encodeUnknownSync(Schema.toCodecJson(payload))
    const exit = exitSchema(rpc as Rpc.Any) as unknown as Schema.Codec<Exit.Exit<unknown, unknown>, unknown>
    const decode = Schema.decodeUnknownSync(Schema.toCodecJson(exit))
    found = { encodePayload: (input) => encode(payload.make(input)), decodeExit: decode }
    codecs.set(rpc, found)
  }
  return found
}
