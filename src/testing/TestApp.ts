import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as Client from "../client/Client.ts"
import * as Transport from "../client/Transport.ts"
import type * as Api from "../contract/Api.ts"
import * as ActionRunner from "../engine/Actions.ts"
import type { App } from "../engine/App.ts"
import * as FrontDoor from "../engine/FrontDoor.ts"
import type { Session } from "../engine/Host.ts"
import * as Messages from "../engine/HttpMessages.ts"
import * as Live from "../engine/Live.ts"
import { MemoryObject } from "./MemoryObject.ts"

export interface Options extends FrontDoor.Options {
  /** What actions do their I/O with; the global `fetch` unless given. */
  readonly http?: Layer.Layer<HttpClient.HttpClient>
}

/**
 * A whole backend in memory: the engine that runs on Cloudflare, over real SQLite, under the test's clock. Each layer is
 * a backend of its own, with one object for each tenant that is asked for.
 */
export class TestApp extends Context.Service<
  TestApp,
  {
    /** The object of a tenant, `main` unless named. */
    readonly object: (tenant?: string) => MemoryObject<any>
    /** What a client reaches the backend with: pass it to `Layer.provide`. */
    readonly transport: Layer.Layer<Socket.WebSocketConstructor | HttpClient.HttpClient>
    /** The base URL that `transport` answers. */
    readonly url: string
    readonly app: App<any>
  }
>()("effect-dormouse/TestApp") {
  /** A backend of an app. It lives as long as the layer; a test that wants its own provides it itself. */
  static readonly layer: <Rpcs extends Rpc.Any>(app: App<Rpcs>, options?: Options) => Layer.Layer<TestApp> = (
    app,
    options
  ) => layer(app, options)

  /** A client of the backend, typed by its contract. */
  static readonly client: <Rpcs extends Rpc.Any>(
    api: Api.Declared<Rpcs>,
    options?: Omit<Client.ClientOptions, "url">
  ) => Effect.Effect<Client.Client<Rpcs>, never, TestApp | Scope> = (api, options) =>
    Effect.gen(function* () {
      const { transport, url } = yield* TestApp
      return yield* Client.make(api, { url, ...options }).pipe(Effect.provideContext(yield* Layer.build(transport)))
    }) as Effect.Effect<any, never, TestApp | Scope>

  /** The live value of a query where the tables are, without a socket between. */
  static readonly live: <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "query">>(
    api: Api.Declared<Rpcs>,
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
  ) => Stream.Stream<Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>, TestApp> = (
    api,
    tag,
    payload
  ) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { object } = yield* TestApp
        const { local } = yield* Effect.promise(() => object().backend())
        return Live.stream(api, tag, payload).pipe(Stream.provideService(Live.Live, local))
      })
    )

  /** The stock RPC client of Effect over a socket to the backend, typed by its contract. */
  static readonly rpc: <Rpcs extends Rpc.Any>(
    api: Api.Declared<Rpcs>,
    options?: { readonly tenant?: string }
  ) => Effect.Effect<RpcClient.RpcClient.Flat<Rpcs | Api.Live<Rpcs>, RpcClientError>, never, TestApp | Scope> = (
    api,
    options
  ) => rpc(api, options)
}

const url = "http://dormouse.test"

const layer = <Rpcs extends Rpc.Any>(app: App<Rpcs>, options: Options = {}): Layer.Layer<TestApp> =>
  Layer.effect(
    TestApp,
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      const http = yield* Layer.build(options.http ?? FetchHttpClient.layer)
      const actions = yield* Effect.provideContext(ActionRunner.make(app), http)
      const objects = new Map<string, MemoryObject<Rpcs>>()
      const databases: Array<DatabaseSync> = []
      const object = (tenant = "main") => {
        let found = objects.get(tenant)
        if (found === undefined) {
          const database = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
          databases.push(database)
          found = new MemoryObject({ app, database, actions, context })
          objects.set(tenant, found)
        }
        return found
      }
      yield* Effect.addFinalizer(() =>
        Effect.promise(async () => {
          for (const object of objects.values()) await object.crash()
          for (const database of databases) database.close()
        })
      )
      const tenantOf = (request: Request) => Messages.tenantOf(request, new URL(request.url)) ?? "main"
      const toObject = (tenant: string, url: string, init: RequestInit) => object(tenant).fetch(url, init)
      const enter = (request: Request, ask = toObject) =>
        Effect.runPromiseWith(context)(
          FrontDoor.enter(app, options, {
            request,
            object: (tenant) => (url, init) => ask(tenant, url, init),
            actions: Effect.succeed(actions)
          })
        )
      const fetch = (input: string | URL, init?: RequestInit) => {
        const request = new Request(input, init)
        return object(tenantOf(request)).network.exchange(() => enter(request))
      }
      /** Who may open a socket, as the front door decides it. */
      const identify = async (request: Request) => {
        let session: Session | undefined
        const accept = async (_tenant: string, url: string, init: RequestInit) => {
          session = Messages.readSession(new Request(url, init))
          return new Response()
        }
        await enter(request, accept)
        return session
      }
      const transport = Layer.mergeAll(
        Layer.succeed(Socket.WebSocketConstructor, (url, options) => {
          const protocols = Array.isArray(options) || typeof options === "string" ? options : options?.protocols
          const headers = { upgrade: "websocket", [Messages.protocolHeader]: [protocols ?? []].flat().join(", ") }
          const request = new Request(url.replace(/^ws/, "http"), { headers })
          return object(tenantOf(request)).connect(() => identify(request))
        }),
        Layer.succeed(Transport.Fetch, fetch),
        FetchHttpClient.layer.pipe(
          Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch as typeof globalThis.fetch))
        )
      )
      return { object, transport, url, app }
    })
  )

const rpc = <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: { readonly tenant?: string } = {}
): Effect.Effect<RpcClient.RpcClient.Flat<Rpcs | Api.Live<Rpcs>, RpcClientError>, never, TestApp | Scope> =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const protocol = RpcClient.layerProtocolSocket().pipe(
      Layer.provide([
        RpcSerialization.layerJson,
        Layer.effect(
          Socket.Socket,
          Socket.makeWebSocket(`${url.replace("http", "ws")}/rpc?tenant=${options.tenant ?? "main"}`)
        ).pipe(Layer.provide(transport))
      ])
    )
    return yield* RpcClient.make(api as any, { flatten: true }).pipe(
      Effect.provideContext(yield* Layer.build(protocol))
    )
  }) as any
