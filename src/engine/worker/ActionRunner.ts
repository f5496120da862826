/**
 * Runs actions in the Worker, in the name of a caller.
 * Their calls of queries and mutations go to the caller's object.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type * as Api from "../../contract/Api.ts"
import { type App, handlersOf, partsOf } from "../../contract/App.ts"
import { Auth, CurrentIdentity, CurrentNetwork } from "../../contract/Auth.ts"
import { Calls } from "../../contract/Calls.ts"
import type { ServedFiles } from "../../contract/Files.ts"
import { TokenIssuer } from "../../contract/TokenIssuer.ts"
import { CallError, Unavailable } from "../../protocol/CallError.ts"
import type { Request } from "../../protocol/Messages.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { networkOf } from "../rpc/CallRates.ts"
import { runBatch } from "../rpc/HttpBatch.ts"
import * as KindMiddleware from "../rpc/KindMiddleware.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import { spanFields } from "../rpc/RequestSpan.ts"
import * as RpcTransport from "../rpc/RpcTransport.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"

/** Runs the actions of an app. */
export interface ActionRunner {
  readonly run: (options: {
    readonly requests: ReadonlyArray<Request>
    readonly session: RequestSession
    readonly object: ObjectStub
    /** Takes each message as it comes; without it they are collected. */
    readonly onMessage?: ((message: FromServerEncoded) => void | Promise<void>) | undefined
    /** Bytes of the chunks of all streams, for messages that are collected before they are sent. */
    readonly resultBytes?: number | undefined
  }) => Effect.Effect<ReadonlyArray<FromServerEncoded>>
  /** The files of an app that has some. */
  readonly files?: ServedFiles | undefined
}

/** What runs the actions of an app, with the author's services of actions: routes and cron triggers have them as well. */
export interface BuiltActions<in Services> extends ActionRunner {
  readonly services: Context.Context<Services>
}

/** Builds the handlers of actions, once for all that run here. The author's `auth` may be what issues tokens. */
export const make = <Rpcs extends Rpc.Any, S, Services, M>(
  app: App<Rpcs, S, Services, M>,
  issuer: Effect.Effect<Option.Option<TokenIssuer["Service"]>> = Effect.succeedNone
): Effect.Effect<BuiltActions<Services>, never, HttpClient.HttpClient | Scope> =>
  Effect.gen(function* () {
    const { actionServices } = app.layers
    const services = yield* Layer.build(actionServices)
    const group: RpcGroup.RpcGroup<any> = app.api.declared.merge(
      ...(app.jobs?.queues ?? []).map(({ api }) => api.declared)
    )
    const handlers: Layer.Layer<never, never, any> = (app.jobs?.queues ?? []).reduce(
      (layers, { layer }) => Layer.merge(layers, layer),
      app.layers.handlers
    )
    const own = yield* Layer.build(
      handlersOf(
        { ...app.layers, handlers },
        actionServices === Layer.empty ? Layer.empty : Layer.succeedContext(services)
      )
    )
    const kinds = yield* Layer.build(KindMiddleware.workerLayer)
    yield* KindMiddleware.requireMiddleware(group.requests.values(), own)
    const server = yield* Effect.provideContext(RpcTransport.make(group), Context.merge(own, kinds))
    const annotations = yield* References.CurrentLogAnnotations
    // An issuer among the author's own services comes first.
    const issued = Context.getOption(services, TokenIssuer)
    const tokens: TokenIssuer["Service"] = Option.getOrElse(issued, () => ({
      issue: (request) =>
        Effect.flatMap(
          issuer,
          Option.match({ onNone: () => Effect.die(new Error(noIssuer)), onSome: ({ issue }) => issue(request) })
        )
    }))
    const run: ActionRunner["run"] = ({ object, onMessage, requests, resultBytes, session }) =>
      Effect.callback<ReadonlyArray<FromServerEncoded>>((resume) => {
        let own: Context.Context<Calls> = Context.make(Calls, callsTo(app.api, object, session))
        for (const { api, servicesOver } of partsOf(app)) {
          own = Context.merge(own, servicesOver(callsTo(api, object, session)))
        }
        const context = own.pipe(
          Context.add(CurrentIdentity, session.identity),
          Context.add(CurrentNetwork, session.address === undefined ? undefined : networkOf(session.address)),
          // For handlers, and for the author's middleware around them.
          Context.add(Auth, { identity: Effect.succeed(session.identity) }),
          Context.add(TokenIssuer, tokens),
          Context.add(References.CurrentLogAnnotations, {
            ...annotations,
            tenant: session.tenant,
            subject: session.identity.subject
          })
        )
        const interruption = new AbortController()
        const answers = runBatch(server, requests, {
          context,
          onMessage,
          signal: interruption.signal,
          resultBytes
        })
        void answers.then((answers) => resume(Effect.succeed(answers)))
        // What the handlers do when they are interrupted is part of the action.
        return Effect.promise(() => {
          interruption.abort()
          return answers
        })
      })
    const context: Context.Context<never> = Context.merge(yield* Effect.context<never>(), services)
    return { run, files: app.files?.serve(context), services }
  })

const noIssuer = "nothing issues tokens here: TokenIssuer needs Auth.layerLocal as the option `auth`"

/** The failure of a call that has no answer. */
export const unanswered = new CallError({ reason: new Unavailable({ detail: "the tenant's object did not answer" }) })

/** Calls of an object by their contract, for example in the name of an action's caller. */
export const callsTo = <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  object: Pick<ObjectStub, "call">,
  session: RequestSession
): Calls["Service"] => ({
  call: (tag, payload) =>
    Effect.gen(function* () {
      const rpc: Rpc.Any | undefined = api.declared.requests.get(tag)
      if (rpc === undefined) return yield* Effect.die(new Error(`the contract has no rpc ${tag}`))
      const codec = RpcCodec.of(rpc)
      const request = yield* requestOf(tag, codec.encodePayload(payload))
      const { body } = yield* Effect.tryPromise({
        try: () => object.call({ ...session, fromAction: true }, JSON.stringify(request)),
        catch: () => unanswered
      })
      return yield* decodeAnswer(codec, body)
    })
})

/** A call of the Worker's own. It continues the trace of the effect that makes it. */
export const requestOf = (tag: string, payload: Schema.Json): Effect.Effect<Request> =>
  Effect.map(Effect.serviceOption(Tracer.ParentSpan), (span) => ({
    _tag: "Request",
    id: "0",
    tag,
    payload,
    headers: [],
    ...(Option.isSome(span) && spanFields(span.value))
  }))

/** How the only call of a body ended, from the text of the answers to the body. */
export const decodeAnswer = Effect.fnUntraced(function* (codec: RpcCodec.RpcCodec, body: string) {
  // An object that does not admit its tenant any more answers without messages.
  const answers: unknown = yield* Effect.try({ try: () => JSON.parse(body), catch: () => unanswered })
  const exit = Array.isArray(answers) ? answers.find((answer) => answer?._tag === "Exit")?.exit : undefined
  if (exit === undefined) return yield* unanswered
  return yield* codec.decodeExit(exit)
})
