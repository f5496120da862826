/**
 * `Cloudflare.serve(app)`: the Durable Object class of an app and the Worker in front of it.
 */
import { WorkerEntrypoint } from "cloudflare:workers"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { App } from "../contract/App.ts"
import type { ObjectStub } from "../engine/rpc/ObjectStub.ts"
import { objectUrl, sessionHeaders } from "../engine/rpc/SessionHeader.ts"
import * as ActionRunner from "../engine/worker/ActionRunner.ts"
import { Gateway, type GatewayOptions } from "../engine/worker/Gateway.ts"
import { exportsOf, Flushing, type HostOptions, makeRuntime, type TenantStub, type WorkerProps } from "./Host.ts"
import * as Tenant from "./TenantObject.ts"

export { WorkerEnv } from "../layers/cloudflare/WorkerEnv.ts"

/** Who may come in, and what Worker and object have beside the app. */
export interface ServeOptions<R = never> extends GatewayOptions, HostOptions<R> {}

/** What `serve` gives. */
export interface Deployment {
  readonly TenantObject: Tenant.TenantObjectClass
  readonly worker: new (ctx: ExecutionContext, env: Cloudflare.Env) => WorkerEntrypoint
}

/** What lives as long as an isolate of the Worker. */
interface WorkerRuntime<R> {
  readonly runtime: ManagedRuntime.ManagedRuntime<R, never>
  readonly isTraced: Promise<boolean>
  /** Built when the first action is called. */
  actions: Promise<ActionRunner.ActionRunner> | undefined
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
    const runtime = makeRuntime(options, env)
    return {
      runtime,
      isTraced:
        options.layer === undefined
          ? Promise.resolve(false)
          : runtime.runPromise(Effect.map(Effect.serviceOption(Tracer.Tracer), Option.isSome)),
      actions: undefined
    }
  }

  const makeActions = (runtime: ManagedRuntime.ManagedRuntime<R, never>): Promise<ActionRunner.ActionRunner> =>
    runtime.runPromise(
      ActionRunner.make(app).pipe(
        Effect.provide(FetchHttpClient.layer),
        // The handlers live as long as the isolate.
        Scope.provide(Scope.makeUnsafe())
      )
    )

  const worker = class extends WorkerEntrypoint<Cloudflare.Env, WorkerProps> {
    override async fetch(request: Request): Promise<Response> {
      shared ??= makeShared(this.env)
      const { isTraced, runtime } = shared
      const waitUntil = (work: Promise<unknown>) => this.ctx.waitUntil(work)
      new Flushing(runtime, options, waitUntil).request()
      const objects = exportsOf(this.ctx).TenantObject
      return gateway.handle(
        {
          object: (tenant) => stubOf(objects.getByName(tenant)),
          actions: () => {
            const own = shared ?? makeShared(this.env)
            own.actions ??= makeActions(runtime)
            // Another request may wait for it as well: this one must not end before.
            waitUntil(own.actions)
            return own.actions
          },
          waitUntil,
          run: (effect) => runtime.runPromise(effect),
          isTraced: options.layer !== undefined && (await isTraced)
        },
        { request, trustedSession: this.ctx.props?.session }
      )
    }
  }

  return { TenantObject, worker }
}

const stubOf = (stub: TenantStub): ObjectStub => ({
  call: (session, body) => stub.call(session, body),
  connect: (session, headers) =>
    stub.fetch(objectUrl, { headers: { ...sessionHeaders(session), ...headers, upgrade: "websocket" } }),
  explain: () => stub.explain()
})
