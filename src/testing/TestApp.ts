/**
 * A whole backend in memory for tests: the engine that runs on Cloudflare, over real SQLite, under the test's clock.
 * Each tenant has a `MemoryObject`; clients reach it through the transport of `TestApp`.
 */
import { DatabaseSync } from "node:sqlite"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as Client from "../client/Client.ts"
import * as Transport from "../client/Transport.ts"
import * as Api from "../contract/Api.ts"
import type { App } from "../contract/App.ts"
import { TenantCalls } from "../contract/Calls.ts"
import { filesPath, placeIn } from "../contract/Files.ts"
import * as Live from "../contract/Live.ts"
import type { ObjectStub } from "../engine/rpc/ObjectStub.ts"
import { isTraced } from "../engine/rpc/RequestSpan.ts"
import { protocolHeader, type RequestSession } from "../engine/rpc/SessionHeader.ts"
import type { SessionOptions } from "../engine/rpc/SessionOptions.ts"
import * as ActionRunner from "../engine/worker/ActionRunner.ts"
import { deploymentCalls } from "../engine/worker/DeploymentCalls.ts"
import { Gateway, type GatewayHost, type GatewayOptions } from "../engine/worker/Gateway.ts"
import { lazily } from "../engine/worker/Lazily.ts"
import { runLocally } from "../engine/worker/LocalActions.ts"
import * as QueueConsumer from "../engine/worker/QueueConsumer.ts"
import type { Close } from "../engine/worker/Refusal.ts"
import type { Routes } from "../engine/worker/Routes.ts"
import { tenantOf } from "../engine/worker/Routing.ts"
import { registryOf } from "../engine/worker/Tenancy.ts"
import type { MemoryBroker } from "../layers/memory/Broker.ts"
import * as Auth from "../services/Auth.ts"
import { carriedBy } from "../services/Broker.ts"
import { SystemCalls } from "../services/SystemCalls.ts"
import * as TableSchema from "../services/storage/TableSchema.ts"
import type { GateHost } from "../services/TenantGate.ts"
import * as Transactor from "../services/Transactor.ts"
import { tenantNamePattern, tenantsName } from "../system/Names.ts"
import { SystemApi, systemName } from "../system/SystemApi.ts"
import { systemApp } from "../system/SystemApp.ts"
import { Accepted, MemoryObject } from "./MemoryObject.ts"

/** What a test replaces in an app, and the options of its gateway. */
export interface TestAppOptions<Services = never, ActionServices = never, Middleware = never>
  extends GatewayOptions,
    SessionOptions {
  /** Replaces the app's `services`. */
  readonly services?: Layer.Layer<Services>
  /** Replaces the app's `actionServices`. */
  readonly actionServices?: Layer.Layer<ActionServices>
  /** Replaces the app's `middleware`. */
  readonly middleware?: Layer.Layer<Middleware>
  /** The HTTP client of actions; the global `fetch` unless given. */
  readonly http?: Layer.Layer<HttpClient.HttpClient>
  /** The caller of every request without a token. */
  readonly identity?: Auth.Identity
  /** Carries the messages of some queues. Unless given, the object delivers all of them itself. */
  readonly broker?: MemoryBroker
  /** The SQLite of an object, which is closed with the backend. One in memory unless given. */
  readonly database?: (object: string) => DatabaseSync
  /** The network address of a request. In memory there is none unless given. */
  readonly addressOf?: (request: Request) => string | undefined
  /** The routes of the deployment, as `Cloudflare.serve` takes them. */
  readonly routes?: Routes<NoInfer<ActionServices> | HttpClient.HttpClient | TenantCalls>
}

/** The options of a client in a test. */
export interface TestClientOptions extends Omit<Client.ClientOptions, "url"> {
  /** The caller, for backends that accept the tokens of `Auth.layerTest`: all that are not given another `auth`. */
  readonly as?: Auth.TestCaller
}

/** A backend with one object per tenant, made when the tenant is first used. */
export class TestApp extends Context.Service<
  TestApp,
  {
    /** The object of a tenant, `main` unless named. */
    readonly object: (tenant?: string) => MemoryObject<any>
    /** The transport of a client to this backend, for `Layer.provide`. */
    readonly transport: Layer.Layer<Socket.WebSocketConstructor | HttpClient.HttpClient>
    /** The base URL at which `transport` reaches the backend. */
    readonly url: string
    /** The app, with the layers that the test replaced. */
    readonly app: App<any>
    /** Answers a web request, past the network that the test controls. */
    readonly handle: (request: Request) => Promise<Response>
    /** Calls of tenants, as routes and cron triggers make them. */
    readonly calls: TenantCalls["Service"]
  }
>()("effect-dormouse/TestApp") {
  /** The backend of an app. It lives as long as the layer: provide the layer per test for separate backends. */
  static readonly layer: <Rpcs extends Rpc.Any, Services, ActionServices, Middleware>(
    app: App<Rpcs, Services, ActionServices, Middleware>,
    options?: TestAppOptions<Services, ActionServices, Middleware>
  ) => Layer.Layer<TestApp> = (app, options) => layer(app, options)

  /** A client of the backend, typed by its contract. */
  static readonly client: <Rpcs extends Rpc.Any>(
    api: Api.Declared<Rpcs>,
    options?: TestClientOptions
  ) => Effect.Effect<Client.Client<Rpcs>, never, TestApp | Scope.Scope> = (api, { as, ...options } = {}) =>
    Effect.gen(function* () {
      const { transport, url } = yield* TestApp
      const token = as === undefined ? {} : { token: Auth.testToken(as) }
      return yield* Effect.provideContext(
        Client.make(api, { url, ...token, ...options }),
        yield* Layer.build(transport)
      )
    })

  /** The value of a query, now and after every change, read in the object itself without a socket. */
  static readonly live: <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "query">>(
    api: Api.Declared<Rpcs>,
    tag: Tag,
    payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>,
    options?: Live.LiveOptions
  ) => Stream.Stream<Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>, TestApp> = (
    api,
    tag,
    payload,
    options
  ) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { object } = yield* TestApp
        const { local } = yield* Effect.promise(() => object().engine())
        return Live.stream(api, tag, payload, options).pipe(Stream.provideService(Live.Live, local))
      })
    )

  /** Runs an effect in a tenant's object, with its `Transactor`. */
  static readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    tenant?: string
  ) => Effect.Effect<A, E, TestApp | Exclude<R, Transactor.Transactor>> = (effect, tenant) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const { transactor } = yield* Effect.promise(() => object(tenant).engine())
      return yield* Effect.provideService(effect, Transactor.Transactor, transactor)
    })

  /** Runs an effect as the Worker does, such as that of a cron trigger: it can call tenants with `Calls.forTenant`. */
  static readonly inWorker: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, TestApp | Exclude<R, TenantCalls>> = (effect) =>
    Effect.flatMap(TestApp, ({ calls }) => Effect.provideService(effect, TenantCalls, calls))

  /** Sends a web request to the backend: to `/rpc`, or to a route. */
  static readonly fetch: (path: string, init?: RequestInit) => Effect.Effect<Response, never, TestApp> = (
    path,
    init = {}
  ) =>
    Effect.flatMap(TestApp, ({ transport, url }) =>
      Effect.scoped(
        Effect.flatMap(Layer.build(transport), (built) =>
          Effect.promise(() => Context.get(built, Transport.Fetch)(`${url}${path}`, init))
        )
      )
    )

  /** The stock RPC client of Effect over a socket to the backend, typed by its contract. */
  static readonly rpc: <Rpcs extends Rpc.Any>(
    api: Api.Declared<Rpcs>,
    options?: { readonly tenant?: string }
  ) => Effect.Effect<RpcClient.RpcClient.Flat<Rpcs | Api.Live<Rpcs>, RpcClientError>, never, TestApp | Scope.Scope> = (
    api,
    options
  ) => rpc(api, options)
}

const url = "http://dormouse.test"

/** Every caller without a token is this one. */
const fixed = (identity: Auth.Identity): Layer.Layer<Auth.Authenticator> =>
  Auth.layer(({ token }) =>
    Effect.succeed(token === undefined ? Option.some({ identity, credential: Auth.noCredential }) : Option.none())
  )

const layer = <Rpcs extends Rpc.Any, S, A, M>(
  tested: App<Rpcs, S, A, M>,
  options: TestAppOptions<S, A, M> = {}
): Layer.Layer<TestApp> =>
  Layer.effect(
    TestApp,
    Effect.gen(function* () {
      const {
        actionServices,
        addressOf,
        broker,
        database: databaseOf = () => new DatabaseSync(":memory:", { enableForeignKeyConstraints: true }),
        expired = "close",
        http = FetchHttpClient.layer,
        identity,
        maxTokenLifetime,
        middleware,
        routes,
        services: appServices,
        ...gatewayOptions
      } = options
      const app: App<Rpcs, S, A, M> = {
        ...(broker === undefined ? tested : carriedBy(tested, broker)),
        layers: {
          ...tested.layers,
          ...(appServices && { services: appServices }),
          ...(actionServices && { actionServices }),
          ...(middleware && { middleware })
        }
      }
      // An object would not start, and a client would call it again and again.
      yield* Effect.sync(() => TableSchema.check(app.tables))
      const context = yield* Effect.context<never>()
      const services = yield* Layer.build(http)
      const issuer = Effect.sync(() => Context.getOption(built, Auth.TokenIssuer))
      const actions = yield* Effect.provideContext(ActionRunner.make(app, issuer), services)
      const sessions: SessionOptions = { expired, ...(maxTokenLifetime !== undefined && { maxTokenLifetime }) }
      const objects = new Map<string, MemoryObject<any>>()
      const databases: Array<DatabaseSync> = []
      const stored = gatewayOptions.admin?.extend(app) ?? app
      const registry = registryOf(gatewayOptions.tenants)
      const tenancy = registry?.open({
        app,
        object: (name) => object(name).stub,
        run: (effect) => Effect.runPromiseWith(context)(effect),
        removeFiles: actions.files?.removeAll
      })
      const object = (tenant = "main"): MemoryObject<any> => {
        let found = objects.get(tenant)
        if (found === undefined) {
          const database = databaseOf(tenant)
          databases.push(database)
          const own = tenant === systemName ? systemApp() : tenant === tenantsName ? registry?.app(app) : undefined
          const gate =
            own === undefined && registry !== undefined
              ? (host: GateHost) =>
                  registry.gate(host, app, { call: (...call) => object(tenantsName).stub.call(...call) })
              : undefined
          const runner: ActionRunner.ActionRunner =
            tenant === tenantsName && tenancy !== undefined
              ? { run: (options) => Effect.flatMap(Effect.promise(tenancy.actions), ({ run }) => run(options)) }
              : actions
          const renew = (request: Request, renews: RequestSession) => gateway.handle(host, { request, renews })
          found = new MemoryObject<any>({
            tenant,
            app: own ?? stored,
            database,
            actions: runner,
            context,
            gate,
            renew,
            sessions
          })
          objects.set(tenant, found)
        }
        return found
      }
      yield* Effect.addFinalizer(() =>
        Effect.promise(async () => {
          await Promise.all([...objects.values()].map((object) => object.close()))
          for (const database of databases) database.close()
        })
      )
      const gateway = new Gateway<Rpcs>(app, gatewayOptions)
      const auth = gatewayOptions.auth ?? Auth.layerFirst(Auth.layerTest, fixed(identity ?? Auth.anonymous))
      const system = deploymentCalls(SystemApi, systemName, {
        call: (...call) => object(systemName).stub.call(...call)
      })
      const built = yield* Layer.build(auth).pipe(
        Effect.provideContext(Context.add(services, SystemCalls, system)),
        Effect.orDie
      )
      const authenticator = Context.get(built, Auth.Authenticator)
      const process = {
        object: (tenant: string) => object(tenant).stub,
        waitUntil: () => {},
        socketOf: (response: Response) =>
          response instanceof Accepted
            ? object(response.session.object ?? response.session.tenant).connect(async () => response.session)
            : undefined,
        run: <A>(effect: Effect.Effect<A>) => Effect.runPromiseWith(context)(effect)
      }
      const act = actIn(actions, process.object, context)
      const consume = QueueConsumer.make(app, { object: process.object, act })
      broker?.connect(context, (body) => Effect.map(consume([body]), ([verdict]) => verdict === "again"))
      const ownActions = { ...process, actions: () => Promise.resolve(actions) }
      const runOwn = runLocally(app, ownActions)
      const runRegistry = tenancy && runLocally(tenancy.app, { ...process, actions: tenancy.actions })
      const host: GatewayHost = {
        ...ownActions,
        system,
        tenancy,
        runApart: (requests, session, signal) =>
          (session.tenant === tenantsName && runRegistry ? runRegistry : runOwn)(requests, session, signal),
        authenticator: () => Promise.resolve(authenticator),
        addressOf: (request) => addressOf?.(request),
        now: () => Context.get(context, Clock.Clock).currentTimeMillisUnsafe(),
        isTraced: isTraced(context),
        routes: routes && lazily(() => process.run(buildRoutes(routes)))
      }
      const calls = gateway.calls(host)
      const scope = yield* Effect.scope
      const buildRoutes = ({ build }: NonNullable<typeof routes>) =>
        build.pipe(
          Effect.provideContext(Context.merge(services, Context.add(actions.services, TenantCalls, calls))),
          Scope.provide(scope),
          Effect.orDie
        )
      const objectOf = (request: Request) => {
        const url = new URL(request.url)
        if (!url.pathname.startsWith(filesPath)) return object(tenantOf(request, url))
        const { object: name, tenant } = placeIn(url)
        return object(tenantNamePattern.test(tenant) ? (name ?? tenant) : undefined)
      }
      const fetch = (input: string | URL, init?: RequestInit) => {
        const request = new Request(input, init)
        return objectOf(request).network.exchange(() => gateway.handle(host, { request }))
      }
      /** The session of a socket's request, or how the gateway closes the socket. */
      const identify = async (request: Request) => {
        let closed: Close | undefined
        const decide = (close: Close) => {
          closed = close
          return new Response()
        }
        const response = await gateway.handle({ ...host, closeSocket: decide }, { request })
        return response instanceof Accepted ? response.session : closed
      }
      const transport = Layer.mergeAll(
        Layer.succeed(Socket.WebSocketConstructor, (url, options) => {
          const isList = Array.isArray(options) || typeof options === "string"
          const protocols = isList ? options : options?.protocols
          const own = isList ? undefined : options?.headers
          const headers = { ...own, upgrade: "websocket", [protocolHeader]: [protocols ?? []].flat().join(", ") }
          const request = new Request(url.replace(/^ws/, "http"), { headers })
          return objectOf(request).connect(
            () => identify(request),
            ({ object: name, tenant }) => object(name ?? tenant)
          )
        }),
        Layer.succeed(Transport.Fetch, fetch),
        FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, toFetch(fetch))))
      )
      const handle = (request: Request) => gateway.handle(host, { request })
      return { object, transport, url, app, calls, handle }
    })
  )

/** Runs a single action. */
const actIn =
  (
    { run }: ActionRunner.ActionRunner,
    object: (name: string) => ObjectStub,
    context: Context.Context<never>
  ): QueueConsumer.ConsumerHost["act"] =>
  async (request, session, signal) => {
    const running = run({ requests: [request], session, object: object(session.object ?? session.tenant) })
    const messages = await Effect.runPromiseWith(context)(running, { signal })
    return messages.find((message) => message._tag === "Exit")?.exit
  }

/** The global `fetch` also takes a `Request`. */
const toFetch =
  (fetch: (input: string | URL, init?: RequestInit) => Promise<Response>): typeof globalThis.fetch =>
  (input, init) =>
    fetch(input instanceof Request ? input.url : input, init)

const rpc = <Rpcs extends Rpc.Any>(
  api: Api.Declared<Rpcs>,
  options: { readonly tenant?: string } = {}
): Effect.Effect<RpcClient.RpcClient.Flat<Rpcs | Api.Live<Rpcs>, RpcClientError>, never, TestApp | Scope.Scope> =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const socketUrl = `${url.replace("http", "ws")}/rpc?tenant=${options.tenant ?? "main"}`
    const protocol = RpcClient.layerProtocolSocket().pipe(
      Layer.provide([
        RpcSerialization.layerJson,
        Layer.effect(Socket.Socket, Socket.makeWebSocket(socketUrl)).pipe(Layer.provide(transport))
      ])
    )
    return yield* Effect.provideContext(
      RpcClient.make(Api.toGroup(api), { flatten: true }),
      yield* Layer.build(protocol)
    )
  })
