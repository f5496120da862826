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
import { anonymous, type Identity } from "../contract/Auth.ts"
import { Calls } from "../contract/Calls.ts"
import type { App } from "../engine/App.ts"
import * as Backend from "../engine/Backend.ts"
import { exchange } from "../engine/Exchange.ts"
import type { Session } from "../engine/Host.ts"
import type { Server } from "../engine/Server.ts"
import { Caller } from "../engine/Transaction.ts"
import type { Request as RpcRequest } from "../protocol/Messages.ts"
import * as FrontDoor from "./FrontDoor.ts"
import * as Tenant from "./TenantObject.ts"

export interface Options {
  /** Which tenants exist. Every well-formed name unless given; a name that is refused wakes no object. */
  readonly tenants?: (name: string) => boolean
  /** Who is calling, from the request that opens a socket or carries a call. Anonymous unless given. */
  readonly identify?: (request: Request) => Identity | Promise<Identity>
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

  const worker = class extends WorkerEntrypoint<Cloudflare.Env, Props> {
    override async fetch(request: Request): Promise<Response> {
      const url = new URL(request.url)
      if (url.pathname !== "/rpc") return FrontDoor.refused(404, "not found")
      const session = this.ctx.props?.session ?? (await this.session(request, url))
      if (session === undefined) return FrontDoor.refused(404, "no such tenant")
      const object: Fetcher = (this.ctx as any).exports.TenantObject.getByName(session.tenant)
      const headers = FrontDoor.sessionHeaders(session)
      if (request.method === "GET") {
        if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
          return FrontDoor.refused(426, "GET /rpc opens a WebSocket", { upgrade: "websocket" })
        }
        return object.fetch("https://dormouse/rpc", { headers: { ...headers, upgrade: "websocket" } })
      }
      if (request.method !== "POST") return FrontDoor.refused(405, "use POST", { allow: "GET, POST" })
      const body = await FrontDoor.readRequests(request, app.limits)
      if (body instanceof Response) return body
      const { actions, refusals, transactions } = FrontDoor.route(app, body.requests)
      const transact = (text: string) => object.fetch("https://dormouse/rpc", { method: "POST", headers, body: text })
      if (transactions.length > 0 && transactions.length === body.requests.length) return transact(body.text)
      const act = (onMessage?: (message: FromServerEncoded) => Promise<void>) =>
        runActions(actions, object, session, request.signal, onMessage)
      if (request.headers.get("accept") === FrontDoor.ndjson) return lines(act)
      const [fromObject, fromActions] = await Promise.all([
        transactions.length === 0
          ? []
          : transact(JSON.stringify(transactions)).then((response) => response.json<Array<FromServerEncoded>>()),
        actions.length === 0 ? [] : act()
      ])
      const isRefused = refusals.length > 0 && refusals.length === body.requests.length
      return FrontDoor.answers([...refusals, ...fromObject, ...fromActions], app.limits, isRefused ? 404 : 200)
    }

    private async session(request: Request, url: URL): Promise<Session | undefined> {
      const tenant = FrontDoor.tenantOf(request, url)
      if (tenant === undefined || options.tenants?.(tenant) === false) return undefined
      return { tenant, identity: (await options.identify?.(request)) ?? anonymous }
    }
  }

  const runActions = (
    requests: ReadonlyArray<RpcRequest>,
    object: Fetcher,
    session: Session,
    signal: AbortSignal,
    onMessage?: (message: FromServerEncoded) => Promise<void>
  ): Promise<ReadonlyArray<FromServerEncoded>> => {
    const run = Effect.gen(function* () {
      const server = yield* Actions
      const context = Context.make(Calls, yield* callsTo(app, object, session)).pipe(
        Context.add(Caller, session.identity)
      )
      return yield* Effect.promise((signal) => exchange(server, requests, { context, onMessage, signal }))
    })
    return runtime.runPromise(Effect.scoped(run), { signal })
  }

  return { TenantObject, worker }
}

/** What the object gives along when it has the Worker run an action. */
interface Props {
  readonly session?: Session
}

class Actions extends Context.Service<Actions, Server>()("effect-dormouse/do/Actions") {}

/** Messages as they come, one to a line. */
const lines = (run: (onMessage: (message: FromServerEncoded) => Promise<void>) => Promise<unknown>): Response => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const done = run((message) => writer.write(encoder.encode(`${JSON.stringify(message)}\n`)))
  done.then(
    () => writer.close(),
    (cause) => writer.abort(cause)
  )
  return new Response(readable, { headers: { "content-type": FrontDoor.ndjson } })
}

/** Calls to the tenant's object in the name of the action's caller, by the stock client. */
const callsTo = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(app: App<Rpcs>, object: Fetcher, session: Session) {
  const toObject = (url: RequestInfo | URL, init?: RequestInit) =>
    object.fetch(
      url as string,
      {
        ...init,
        headers: { ...Object.fromEntries(new Headers(init?.headers)), ...FrontDoor.sessionHeaders(session) }
      } as any
    )
  const protocol = RpcClient.layerProtocolHttp({ url: "https://dormouse/rpc" }).pipe(
    Layer.provide([RpcSerialization.layerJson, FetchHttpClient.layer]),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, toObject as unknown as typeof fetch))
  )
  const client = yield* RpcClient.make(app.api as any, { flatten: true }).pipe(
    Effect.provideContext(yield* Layer.build(protocol))
  )
  return { call: client as any } satisfies Calls["Service"]
})
