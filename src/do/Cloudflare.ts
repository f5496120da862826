/**
 * `Cloudflare.serve(app)`: the Durable Object class of an app and the Worker in front of it.
 * The Worker's runtime is built with the first request of an isolate; the gateway decides everything else.
 */
import { exports, WorkerEntrypoint } from "cloudflare:workers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import type { App } from "../contract/App.ts"
import { TokenIssuer } from "../contract/TokenIssuer.ts"
import { errorResponse } from "../engine/rpc/HttpBody.ts"
import type { ObjectStub } from "../engine/rpc/ObjectStub.ts"
import { isTraced } from "../engine/rpc/RequestSpan.ts"
import { objectUrl, sessionHeaders } from "../engine/rpc/SessionHeader.ts"
import * as ActionRunner from "../engine/worker/ActionRunner.ts"
import { collectAnswers } from "../engine/worker/CollectedActions.ts"
import { deploymentCalls } from "../engine/worker/DeploymentCalls.ts"
import { Gateway, type GatewayOptions } from "../engine/worker/Gateway.ts"
import { type CloseSocket, closeRefused } from "../engine/worker/Refusal.ts"
import { registryOf, type Tenancy } from "../engine/worker/Tenancy.ts"
import { Authenticator } from "../services/Authenticator.ts"
import { SystemCalls } from "../services/SystemCalls.ts"
import { SystemApi, systemName } from "../system/SystemApi.ts"
import {
  exportsOf,
  Flushing,
  fetchActions,
  type HostOptions,
  HostRuntime,
  hungDetail,
  logStartFailure,
  type TenantStub,
  type WorkerProps
} from "./Host.ts"
import type { WorkerBase, WorkerContext } from "./Platform.ts"
import * as Tenant from "./TenantObject.ts"

export { WorkerEnv } from "../layers/cloudflare/WorkerEnv.ts"
export type { ObjectSocket, ObjectState, WorkerContext } from "./Platform.ts"

/** Which requests are accepted, and the services that Worker and object have besides the app's. */
export interface ServeOptions<R = never> extends GatewayOptions, HostOptions<R> {}

/** The Worker of an app. A class that extends it can call `super.fetch`. */
export interface AppWorker extends WorkerBase {
  fetch(request: Request): Promise<Response>
}

/** What `serve` returns. */
export interface Deployment {
  readonly TenantObject: Tenant.TenantObjectClass
  readonly worker: new (ctx: WorkerContext, env: Cloudflare.Env) => AppWorker
}

/** The author's `auth`. Both promises are there once, so that no request waits for more than it must. */
interface BuiltAuth {
  readonly authenticator: Promise<Authenticator["Service"]>
  /** What issues tokens, if something does. */
  readonly issuer: Promise<Option.Option<TokenIssuer["Service"]>>
}

/** What lives as long as an isolate of the Worker. */
interface WorkerRuntime<R> {
  readonly runtime: HostRuntime<R>
  readonly flushing: Flushing<R>
  /** Whether the author's layer has a tracer. */
  readonly isTraced: Promise<Exit.Exit<boolean>>
  /** Built when the first action is called. */
  actions: Promise<ActionRunner.ActionRunner> | undefined
  /** The author's registry of tenants. */
  readonly tenancy: Tenancy | undefined
  /** The author's `auth`, built with the first request. */
  auth: BuiltAuth | undefined
}

/**
 * The whole deployment of an app: the Durable Object class and the Worker in front of it. Export both, the Worker as the
 * default; the class must be exported as `TenantObject` and have SQLite storage.
 */
export const serve = <Rpcs extends Rpc.Any, R = never>(app: App<Rpcs>, options: ServeOptions<R> = {}): Deployment => {
  const TenantObject = Tenant.make(app, options)
  const gateway = new Gateway(app, options)
  // Made with the first request: the environment is known only then.
  let shared: WorkerRuntime<R> | undefined

  const makeShared = (env: Cloudflare.Env): WorkerRuntime<R> => {
    const runtime = new HostRuntime(options, env)
    const own: WorkerRuntime<R> = {
      runtime,
      flushing: new Flushing(runtime, options),
      isTraced: runtime.runPromiseExit(Effect.map(Effect.context<never>(), isTraced)),
      actions: undefined,
      tenancy: registryOf(options.tenants)?.open({
        object: objectOf,
        run: (effect) => runtime.runPromise(effect),
        removeFiles: async (object) => (await actionsOf(own)).files?.removeAll(object)
      }),
      auth: undefined
    }
    return own
  }

  /** What runs actions. It is built once for all requests, and again if that failed. */
  const actionsOf = (own: WorkerRuntime<R>): Promise<ActionRunner.ActionRunner> => {
    own.actions ??= makeActions(own).catch((cause) => {
      // The next call tries again.
      own.actions = undefined
      throw cause
    })
    return own.actions
  }

  const makeAuth = (
    auth: NonNullable<GatewayOptions["auth"]>,
    runtime: HostRuntime<R>
  ): Promise<Context.Context<Authenticator>> =>
    runtime.runPromise(
      Layer.build(Layer.provide(auth, [FetchHttpClient.layer, Layer.succeed(SystemCalls, system)])).pipe(
        Effect.orDie,
        Scope.provide(Scope.makeUnsafe())
      )
    )

  /** The author's `auth`. It is built once for all requests, and again if that failed. */
  const authOf = (own: WorkerRuntime<R>, auth: NonNullable<GatewayOptions["auth"]>): BuiltAuth => {
    if (own.auth !== undefined) return own.auth
    const built = makeAuth(auth, own.runtime)
    const authenticator = built.then(
      (context) => Context.get(context, Authenticator),
      (cause) => {
        own.auth = undefined
        throw cause
      }
    )
    const issuer = built.then((context) => Context.getOption(context, TokenIssuer))
    // Whoever needs it waits for it and sees that it failed.
    issuer.catch(() => {})
    own.auth = { authenticator, issuer }
    return own.auth
  }

  const makeActions = (own: WorkerRuntime<R>): Promise<ActionRunner.ActionRunner> => {
    const { auth } = options
    const issuer = auth === undefined ? Effect.succeedNone : Effect.promise(() => authOf(own, auth).issuer)
    return own.runtime.runPromise(
      ActionRunner.make(app, issuer).pipe(
        Effect.provide(FetchHttpClient.layer),
        // The handlers live as long as the isolate.
        Scope.provide(Scope.makeUnsafe())
      )
    )
  }

  const worker = class extends Base<WorkerProps> {
    override async fetch(request: Request): Promise<Response> {
      shared ??= makeShared(this.env)
      const own = shared
      const { flushing, runtime } = own
      // Another request may wait for what this one starts, so it must not end before that.
      const waitUntil = (work: Promise<unknown>) => this.ctx.waitUntil(work)
      const traced = await this.start(own)
      if (traced instanceof Response) return closeRefused(request, traced, closeSocket)
      const objects = exportsOf(this.ctx).TenantObject
      const response = await gateway.handle(
        {
          object: (tenant) => stubOf(objects.getByName(tenant)),
          system,
          tenancy: own.tenancy,
          actions: () => {
            const actions = actionsOf(own)
            waitUntil(actions)
            return actions
          },
          runApart: (requests, session, signal) => {
            const props = { session, isCollected: true }
            // The platform does not hand a request's own signal on to another request.
            const disconnected = new AbortController()
            const answers = collectAnswers(
              () => fetchActions(this.ctx, props, requests, disconnected.signal),
              requests,
              (cause) => hungDetail(cause) ?? "the action could not be run"
            )
            const disconnect = () => {
              disconnected.abort()
              // The actions are told before this request ends.
              waitUntil(answers)
            }
            if (signal.aborted) disconnect()
            else signal.addEventListener("abort", disconnect, { once: true })
            return answers
          },
          authenticator:
            options.auth &&
            (() => {
              const { authenticator } = authOf(own, options.auth!)
              waitUntil(authenticator)
              return authenticator
            }),
          addressOf: (request) => request.headers.get("cf-connecting-ip") ?? undefined,
          now: Date.now,
          waitUntil,
          run: (effect) => runtime.runPromise(effect),
          isTraced: traced,
          closeSocket
        },
        {
          request,
          trustedSession: this.ctx.props?.session,
          isCollected: this.ctx.props?.isCollected,
          renews: this.ctx.props?.renews
        }
      )
      flushing.request(waitUntil)
      return response
    }

    /** Builds the author's layer, once. Returns whether it has a tracer, or the response when it cannot be built. */
    private async start(own: WorkerRuntime<R>): Promise<boolean | Response> {
      const { isTraced, runtime } = own
      if (options.layer === undefined) return false
      this.ctx.waitUntil(isTraced)
      const exit = await isTraced
      if (Exit.isSuccess(exit)) return exit.value
      await logStartFailure(runtime, couldNotStart, exit.cause)
      // The next request tries again. Another one may have done so already.
      if (shared === own) shared = undefined
      return errorResponse(500, `${couldNotStart}; the cause is in its log`)
    }
  }

  return { TenantObject, worker }
}

// The declarations of the two classes agree: a test compiles classes of ours with the platform's types.
const Base = WorkerEntrypoint as unknown as typeof WorkerBase

const couldNotStart = "the Worker could not start"

const closeSocket: CloseSocket = ({ code, reason }, headers) => {
  const { 0: client, 1: server } = new WebSocketPair()
  server.accept()
  server.close(code, reason)
  return new Response(null, { status: 101, webSocket: client, headers })
}

/** A stub belongs to the request that made it: each call makes one. */
const objectOf = (name: string): ObjectStub => stubOf(exportsOf({ exports }).TenantObject.getByName(name))

const system = deploymentCalls(SystemApi, systemName, { call: (...call) => objectOf(systemName).call(...call) })

const stubOf = (stub: TenantStub): ObjectStub => ({
  call: (session, body, isRewritten) => stub.call(session, body, isRewritten),
  connect: (session, headers) =>
    stub.fetch(objectUrl, { headers: { ...sessionHeaders(session), ...headers, upgrade: "websocket" } }),
  explain: () => stub.explain(),
  update: (update) => stub.update(update)
})
