import { WorkerEntrypoint } from "cloudflare:workers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type * as Rpc from "effect/rpc/Rpc"
import * as ActionRunner from "../engine/Actions.ts"
import type { App } from "../engine/App.ts"
import * as FrontDoor from "../engine/FrontDoor.ts"
import type { Session } from "../engine/Host.ts"
import * as Tenant from "./TenantObject.ts"

export type Options = FrontDoor.Options

/**
 * The whole deployment of an app: the Durable Object class and the Worker in front of it. Export both, the Worker as the
 * default; the class must be exported as `TenantObject` and have SQLite storage.
 */
export const serve = <Rpcs extends Rpc.Any>(app: App<Rpcs>, options: Options = {}): Deployment => {
  const TenantObject = Tenant.make(app)

  // Built when the first action comes, once for an isolate.
  const runtime = ManagedRuntime.make(
    Layer.effect(Actions, ActionRunner.make(app)).pipe(Layer.provide(FetchHttpClient.layer))
  )

  const worker = class extends WorkerEntrypoint<Cloudflare.Env, Props> {
    override fetch(request: Request): Promise<Response> {
      const objects: DurableObjectNamespace = (this.ctx as any).exports.TenantObject
      return Effect.runPromise(
        FrontDoor.enter(app, options, {
          request,
          session: this.ctx.props?.session,
          object: (tenant) => (url, init) => objects.getByName(tenant).fetch(url, init as RequestInit<any>),
          actions: Effect.promise(() => runtime.runPromise(Actions)),
          waitUntil: (work) => this.ctx.waitUntil(work)
        })
      )
    }
  }

  return { TenantObject, worker }
}

export interface Deployment {
  readonly TenantObject: Tenant.TenantObjectClass
  readonly worker: new (ctx: ExecutionContext, env: Cloudflare.Env) => WorkerEntrypoint
}

/** What the object gives along when it has the Worker run an action. */
interface Props {
  readonly session?: Session
}

class Actions extends Context.Service<Actions, ActionRunner.Actions>()("effect-dormouse/do/Actions") {}
