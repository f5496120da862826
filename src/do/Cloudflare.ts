/**
 * `Cloudflare.serve(app)`: the Durable Object class of an app and the Worker in front of it.
 * The Worker's runtime is built with the first request of an isolate; the gateway decides everything else.
 */
import { exports, WorkerEntrypoint, waitUntil as waitUntilNow } from "cloudflare:workers"
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
import { deploymentCalls } from "../engine/worker/DeploymentCalls.ts"
import { couldNotStart, Gateway, type GatewayOptions } from "../engine/worker/Gateway.ts"
import { lazily } from "../engine/worker/Lazily.ts"
import { type CloseSocket, closeRefused } from "../engine/worker/Refusal.ts"
import type { AnswerRoute, Routes } from "../engine/worker/Routes.ts"
import { registryOf, type Tenancy } from "../engine/worker/Tenancy.ts"
import { Authenticator } from "../services/Authenticator.ts"
import { SystemCalls } from "../services/SystemCalls.ts"
import { SystemApi, systemName } from "../system/SystemApi.ts"
import {
  exportsOf,
  Flushing,
  type HostOptions,
  HostRuntime,
  logStartFailure,
  type TenantStub,
  type WorkerProps
} from "./Host.ts"
import type { WorkerBase, WorkerContext } from "./Platform.ts"
import * as Tenant from "./TenantObject.ts"
import {
  apartIn,
  buildRoutes,
  type CronTrigger,
  runTrigger,
  type Scheduled,
  type WorkerParts,
  type WorkerServices
} from "./WorkerServices.ts"

export { WorkerEnv } from "../layers/cloudflare/WorkerEnv.ts"
export type { ObjectSocket, ObjectState, WorkerContext } from "./Platform.ts"
export type { CronTrigger, WorkerServices } from "./WorkerServices.ts"

/** Which requests are accepted, and the services that Worker and object have besides the app's. */
export interface ServeOptions<R = never, ActionServices = never> extends GatewayOptions, HostOptions<R> {
  /**
   * Routes of your own beside `/rpc`: from `Routes.make` of `effect-dormouse/http`, which takes a layer of Effect's `HttpRouter`.
   * They are built once, with the first request that is for no path of Dormouse's.
   */
  readonly routes?: Routes<WorkerServices<R, ActionServices>>
  /**
   * What runs when a cron trigger of the Worker fires, by its expression in `triggers.crons`. A failure is logged, and the platform
   * is told that the trigger failed. It runs once for the deployment: what each tenant does by the clock is a cron of its own.
   */
  readonly scheduled?: Scheduled<R, ActionServices>
}

/** The Worker of an app. A class that extends it can call `super.fetch` and `super.scheduled`. */
export interface AppWorker extends WorkerBase {
  fetch(request: Request): Promise<Response>
  scheduled(trigger: CronTrigger): Promise<void>
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
interface WorkerRuntime<R, ActionServices> extends WorkerParts<R, ActionServices> {
  readonly flushing: Flushing<R>
  /** Whether the author's layer has a tracer. */
  readonly isTraced: Promise<Exit.Exit<boolean>>
  /** The author's routes, built with the first request that may be for one. */
  readonly routes: (() => Promise<AnswerRoute>) | undefined
  /** The author's registry of tenants. */
  readonly tenancy: Tenancy | undefined
  /** The author's `auth`, built with the first request. */
  auth: BuiltAuth | undefined
}

/**
 * The whole deployment of an app: the Durable Object class and the Worker in front of it. Export both, the Worker as the
 * default; the class must be exported as `TenantObject` and have SQLite storage.
 */
export const serve = <Rpcs extends Rpc.Any, R = never, S = never, ActionServices = never, M = never>(
  app: App<Rpcs, S, ActionServices, M>,
  options: ServeOptions<R, ActionServices> = {}
): Deployment => {
  const TenantObject = Tenant.make(app, options)
  const gateway = new Gateway(app, options)
  // Made with the first request: the environment is known only then.
  let shared: WorkerRuntime<R, ActionServices> | undefined

  const makeShared = (env: Cloudflare.Env): WorkerRuntime<R, ActionServices> => {
    const runtime = new HostRuntime(options, env)
    const tenancy = registryOf(options.tenants)?.open({
      app,
      object: objectOf,
      run: (effect) => runtime.runPromise(effect),
      removeFiles: async (object) => (await own.actions()).files?.removeAll(object)
    })
    const own: WorkerRuntime<R, ActionServices> = {
      runtime,
      flushing: new Flushing(runtime, options),
      isTraced: runtime.runPromiseExit(Effect.map(Effect.context<never>(), isTraced)),
      actions: lazily(() => makeActions(own)),
      routes: options.routes && lazily(() => buildRoutes(own, options.routes!)),
      calls: gateway.calls({
        object: objectOf,
        tenancy,
        runApart: apartIn({ exports }, waitUntilNow),
        now: Date.now,
        waitUntil: waitUntilNow,
        run: (effect) => runtime.runPromise(effect)
      }),
      tenancy,
      auth: undefined
    }
    return own
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
  const authOf = (own: WorkerRuntime<R, ActionServices>, auth: NonNullable<GatewayOptions["auth"]>): BuiltAuth => {
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

  const makeActions = (own: WorkerRuntime<R, ActionServices>): Promise<ActionRunner.BuiltActions<ActionServices>> => {
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
            const actions = own.actions()
            waitUntil(actions)
            return actions
          },
          routes:
            own.routes &&
            (() => {
              const routes = own.routes!()
              // Whoever asked logs that it failed.
              waitUntil(routes.catch(() => {}))
              return routes
            }),
          runApart: apartIn(this.ctx, waitUntil),
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
          socketOf: ({ webSocket }) => {
            webSocket?.accept()
            return webSocket ?? undefined
          },
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

    /** Runs what the author has declared for a cron trigger. Rejects when it fails: the platform then shows the trigger as failed. */
    override async scheduled(trigger: CronTrigger): Promise<void> {
      shared ??= makeShared(this.env)
      const own = shared
      const { flushing, runtime } = own
      const traced = await this.start(own)
      if (traced instanceof Response) throw new Error(couldNotStart)
      const exit = await runtime.runPromiseExit(runTrigger(own, options.scheduled, trigger))
      flushing.request((work) => this.ctx.waitUntil(work))
      if (Exit.isFailure(exit)) throw new Error(`the cron trigger ${trigger.cron} failed; the cause is in the log`)
    }

    /** Builds the author's layer, once. Returns whether it has a tracer, or the response when it cannot be built. */
    private async start(own: WorkerRuntime<R, ActionServices>): Promise<boolean | Response> {
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
  readQuery: (session, request) => stub.readQuery(session, request),
  connect: (session, headers) =>
    stub.fetch(objectUrl, { headers: { ...sessionHeaders(session), ...headers, upgrade: "websocket" } }),
  explain: () => stub.explain(),
  plan: (target) => stub.plan(target),
  update: (update) => stub.update(update),
  migrate: () => stub.migrate()
})
