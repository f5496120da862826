import { WorkerEntrypoint } from "cloudflare:workers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import { Calls } from "../contract/Calls.ts"
import type { App } from "../engine/App.ts"
import * as Backend from "../engine/Backend.ts"
import { exchange } from "../engine/Exchange.ts"
import type { Server } from "../engine/Server.ts"
import type { Request as RpcRequest } from "../protocol/Messages.ts"
import * as FrontDoor from "./FrontDoor.ts"
import * as Tenant from "./TenantObject.ts"

export interface Options {
  /** Which tenants exist. Every well-formed name unless given; a name that is refused wakes no object. */
  readonly tenants?: (name: string) => boolean
}

/**
 * The whole deployment of an app: the Durable Object class and the Worker in front of it. Export both, the Worker as the
 * default; the class must be exported as `TenantObject` and have SQLite storage.
 */
export const serve = <Rpcs extends Rpc.Any>(app: App<Rpcs>, options: Options = {}) => {
  const TenantObject = Tenant.make(app)

  /** Built once for an isolate; each request brings its own way to its tenant. */
  const runtime = ManagedRuntime.make(
    Layer.effect(Actions, Backend.makeActions(app)).pipe(Layer.provide(FetchHttpClient.layer))
  )

  const worker = class extends WorkerEntrypoint {
    override async fetch(request: Request): Promise<Response> {
      const url = new URL(request.url)
      if (url.pathname !== "/rpc") return FrontDoor.refused(404, "not found")
      const tenant = FrontDoor.tenantOf(request, url)
      if (tenant === undefined || options.tenants?.(tenant) === false) return FrontDoor.refused(404, "no such tenant")
      const object = () => (this.ctx as any).exports.TenantObject.getByName(tenant) as Fetcher
      if (request.method === "GET") {
        if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
          return FrontDoor.refused(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
        }
        return object().fetch("https://dormouse/rpc", {
          headers: { upgrade: "websocket", "x-dormouse-tenant": tenant }
        })
      }
      if (request.method !== "POST") return FrontDoor.refused(405, "use POST", { allow: "GET, POST" })
      const body = await FrontDoor.readRequests(request, app.limits)
      if (body instanceof Response) return body
      const { actions, refusals, transactions } = FrontDoor.route(app, body.requests)
      const post = (text: string) => object().fetch("https://dormouse/rpc", { method: "POST", body: text })
      if (transactions.length === body.requests.length) return post(body.text)
      const [fromObject, fromActions] = await Promise.all([
        transactions.length === 0
          ? []
          : post(JSON.stringify(transactions)).then((response) => response.json<Array<any>>()),
        actions.length === 0 ? [] : this.act(actions, object())
      ])
      const status = refusals.length === body.requests.length && refusals.length > 0 ? 404 : 200
      return new Response(FrontDoor.encodeAnswers([...refusals, ...fromObject, ...fromActions], app.limits), {
        status,
        headers: { "content-type": "application/json" }
      })
    }

    private act(requests: ReadonlyArray<RpcRequest>, object: Fetcher): Promise<ReadonlyArray<FromServerEncoded>> {
      const run = Effect.gen(function* () {
        const server = yield* Actions
        const context = Context.make(Calls, yield* callsTo(app, object))
        return yield* Effect.promise(() => exchange(server, requests, { context }))
      })
      return runtime.runPromise(Effect.scoped(run))
    }
  }

  return { TenantObject, worker }
}

class Actions extends Context.Service<Actions, Server>()("effect-dormouse/do/Actions") {}

/** Calls to the tenant's object, by the stock client. */
const callsTo = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(app: App<Rpcs>, object: Fetcher) {
  const protocol = RpcClient.layerProtocolHttp({ url: "https://dormouse/rpc" }).pipe(
    Layer.provide([RpcSerialization.layerJson, FetchHttpClient.layer]),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, object.fetch.bind(object) as typeof fetch))
  )
  const client = yield* RpcClient.make(app.api as any, { flatten: true }).pipe(
    Effect.provideContext(yield* Layer.build(protocol))
  )
  return { call: client as any } satisfies Calls["Service"]
})
