/**
 * The Durable Object class of an app: one object, one tenant, one database. It translates the platform's events for the
 * engine and decides nothing.
 */
import { DurableObject } from "cloudflare:workers"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { App } from "../contract/App.ts"
import { Live } from "../contract/Live.ts"
import type { TargetData } from "../contract/MigrationPlan.ts"
import { ActionEnded, ActionHost } from "../engine/object/ActionRelay.ts"
import type { Explanation } from "../engine/object/LiveQueries.ts"
import * as TenantEngine from "../engine/object/TenantEngine.ts"
import { describeTooMany, retryHeaders } from "../engine/rpc/CallRates.ts"
import { errorResponse } from "../engine/rpc/HttpBody.ts"
import { readAnswers } from "../engine/rpc/Ndjson.ts"
import type { ObjectAnswer, ObjectValue, ValueRequest } from "../engine/rpc/ObjectStub.ts"
import { protocolHeader, type RequestSession, readSession } from "../engine/rpc/SessionHeader.ts"
import type { GatewayOptions } from "../engine/worker/Gateway.ts"
import { missingStatus, registryOf, type TenantRegistry } from "../engine/worker/Tenancy.ts"
import * as CloudflareAlarm from "../layers/cloudflare/Alarm.ts"
import * as CloudflareBackground from "../layers/cloudflare/Background.ts"
import * as CloudflareDatabase from "../layers/cloudflare/Database.ts"
import { CloudflareSockets } from "../layers/cloudflare/SocketHost.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"
import { Alarm, alarmAgain } from "../services/Alarm.ts"
import { Background } from "../services/Background.ts"
import { Database } from "../services/Database.ts"
import * as Migrations from "../services/Migrations.ts"
import { SocketHost } from "../services/SocketHost.ts"
import { SchemaMismatch } from "../services/Storage.ts"
import type { GateHost, TenantGate, TenantUpdate } from "../services/TenantGate.ts"
import { Transactor } from "../services/Transactor.ts"
import { tenantsName } from "../system/Names.ts"
import { systemName } from "../system/SystemApi.ts"
import { systemApp } from "../system/SystemApp.ts"
import type { TenantMigration } from "../system/TenantsApi.ts"
import {
  exportsOf,
  Flushing,
  fetchActions,
  fetchSession,
  type HostOptions,
  HostRuntime,
  hungDetail,
  logStartFailure
} from "./Host.ts"
import type { ObjectBase, ObjectSocket, ObjectState } from "./Platform.ts"

// The declarations of the two classes agree: a test compiles classes of ours with the platform's types.
const Base = DurableObject as unknown as typeof ObjectBase

const couldNotStart = "the object could not start; the cause is in its log"

/** Milliseconds after which an object that could not start leaves the memory: the next event starts it anew. */
const leaveAfter = 1000

/** How a socket is closed whose tenant does not exist any more. */
const noSuchTenant = [4404, "no such tenant"] as const

/** Whether an object belongs to the deployment and to no tenant. */
const isOwn = (name: string): boolean => name === systemName || name === tenantsName

/** The app of an object that belongs to the deployment. */
const ownApp = (name: string, registry: TenantRegistry | undefined, tenants: App<any>): App<any> | undefined => {
  if (name === systemName) return systemApp()
  if (name !== tenantsName) return undefined
  // Another app would migrate its tables away.
  if (registry === undefined) throw new Error("this version of the app has no registry of tenants")
  return registry.app(tenants)
}

/** What the class is made with. */
export interface TenantObjectOptions<R = never> extends HostOptions<R> {
  /** The registry of tenants, if there is one. */
  readonly tenants?: GatewayOptions["tenants"]
  /** Who may operate the deployment, if somebody may. */
  readonly admin?: GatewayOptions["admin"]
}

/** The object of one tenant, for classes that extend it. */
export interface TenantObject extends ObjectBase {
  /** Answers the requests in the text of a body, in the name of a caller. */
  call(session: RequestSession, body: string, isRewritten?: boolean): Promise<ObjectAnswer>
  /** The value of a query, in the name of a caller. */
  readQuery(session: RequestSession, request: ValueRequest): Promise<ObjectValue>
  /** What each live query reads and costs. */
  explain(): Promise<ReadonlyArray<Explanation>>
  /** Tells the object the name and the state of its tenant. Only a registry of tenants does. */
  update(update: TenantUpdate): Promise<void>
  /**
   * What a start changes in the database: of this version, or of one that declares `target`. Changes nothing, and answers
   * also when the object cannot start.
   */
  plan(target?: TargetData): Promise<Migrations.Plan>
  /** Answers how far the migration of the tenant is. Only a registry of tenants asks. */
  migrate(): Promise<TenantMigration>
  /** Runs an effect beside the calls, with the app's live queries and transactions. */
  run<A, E>(effect: Effect.Effect<A, E, Live | Transactor>): Promise<A>
}

/** The Durable Object class of an app. */
export type TenantObjectClass = new (ctx: ObjectState, env: Cloudflare.Env) => TenantObject

/** Makes the Durable Object class of an app. */
export const make = <Rpcs extends Rpc.Any, R = never>(
  declared: App<Rpcs>,
  options: TenantObjectOptions<R> = {}
): TenantObjectClass => {
  const app = options.admin?.extend(declared) ?? declared
  const registry = registryOf(options.tenants)
  return class extends Base implements TenantObject {
    private engine: TenantEngine.TenantEngine | undefined
    private readonly sockets: CloudflareSockets
    private readonly runtime: HostRuntime<R>
    private readonly flushing: Flushing<R>
    /** What the object knows of its tenant, if there is a registry of tenants. */
    private readonly gate: TenantGate | undefined
    /** Why there is no engine. Only admins see it. */
    private startFailure = couldNotStart

    constructor(ctx: ObjectState, env: Cloudflare.Env) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))
      this.sockets = new CloudflareSockets(ctx)
      this.runtime = new HostRuntime(options, env)
      this.flushing = new Flushing(this.runtime, options)
      this.gate = this.makeGate()
      const booting = this.runtime.runFork(Effect.suspend(() => this.boot()))
      const booted = booting.pollUnsafe()
      if (booted !== undefined && Exit.isSuccess(booted)) this.started(booted.value)
      // No event arrives before the tables are up to date, and before an author's layer is built that waits for something.
      else void ctx.blockConcurrencyWhile(() => this.finishBoot(booting))
    }

    private async finishBoot(booting: Fiber.Fiber<TenantEngine.TenantEngine, unknown>): Promise<void> {
      const exit = await Effect.runPromise(Fiber.await(booting))
      if (Exit.isSuccess(exit)) return this.started(exit.value)
      const mismatch = Cause.squash(exit.cause)
      const isRefused = mismatch instanceof SchemaMismatch
      if (isRefused) this.startFailure = mismatch.message
      this.gate?.migrated({ state: "failed", detail: this.startFailure })
      await logStartFailure(this.runtime, "the object could not start", exit.cause)
      // The platform still answers pings: close the sockets so that their clients reconnect.
      for (const socket of this.ctx.getWebSockets()) socket.close(1011, couldNotStart)
      // Tables that refuse this version refuse it again. Anything else may have passed: a secret is there, a host answers.
      if (!isRefused) setTimeout(() => this.ctx.abort(couldNotStart), leaveAfter)
    }

    private started(engine: TenantEngine.TenantEngine): void {
      this.engine = engine
      this.gate?.migrated(engine.migration)
    }

    private makeGate(): TenantGate | undefined {
      const { name = "" } = this.ctx.id
      if (registry === undefined || isOwn(name)) return undefined
      const { storage } = this.ctx
      const host: GateHost = {
        object: name,
        database: CloudflareDatabase.make(storage),
        bytes: () => storage.sql.databaseSize,
        now: Date.now,
        later: (work) => {
          setTimeout(() => this.ctx.waitUntil(work()), 0)
        },
        run: (effect) => this.runtime.runPromise(effect)
      }
      return registry.gate(host, app, {
        call: (...call) =>
          exportsOf(this.ctx)
            .TenantObject.getByName(tenantsName)
            .call(...call)
      })
    }

    private boot() {
      const database = CloudflareDatabase.make(this.ctx.storage)
      const host = Context.make(Database, this.gate?.guard(database) ?? database).pipe(
        Context.add(SocketHost, this.sockets.service),
        Context.add(Background, CloudflareBackground.make(this.ctx)),
        Context.add(
          Alarm,
          CloudflareAlarm.make(this.ctx.storage, (work) => this.ctx.waitUntil(work))
        ),
        Context.add(ActionHost, {
          runAction: (request, session, signal) => this.runAction(request, session, signal),
          renewSession: (token, session, signal) => fetchSession(this.ctx, token, session, signal)
        })
      )
      const { name: tenant } = this.ctx.id
      const { gate } = this
      const engineOptions = {
        tenant,
        now: Date.now,
        sessions: options,
        onMigrated: () => {
          if (this.engine !== undefined) gate?.migrated(this.engine.migration)
        },
        ...(gate && tenant && { session: () => ({ tenant: gate.name(), object: tenant }), isOpen: gate.isOpen })
      }
      return TenantEngine.make(this.app(), engineOptions).pipe(
        Effect.provideContext(host),
        // The engine lives as long as the heap; nothing ends it before.
        Scope.provide(Scope.makeUnsafe())
      )
    }

    /** What the object runs: the author's app, unless it belongs to the deployment. */
    private app(): App<any> {
      const { name } = this.ctx.id
      return (name === undefined ? undefined : ownApp(name, registry, app)) ?? app
    }

    override async fetch(request: Request): Promise<Response> {
      const { engine } = this
      if (engine === undefined) return errorResponse(503, couldNotStart)
      const session = readSession(request)
      if (session === undefined) return errorResponse(403, "only the Worker in front of the object may call it")
      if (this.gate?.admits(session.tenant) === false) return errorResponse(missingStatus, "no such tenant")
      if (request.headers.get("upgrade") !== "websocket") return errorResponse(426, "only sockets are opened here")
      if (engine.refusal !== undefined) return errorResponse(425, engine.refusal)
      const refused = engine.sockets.refusal(session)
      if (refused !== undefined) {
        return errorResponse(429, describeTooMany(refused), retryHeaders(refused.retryAfter))
      }
      const { 0: client, 1: server } = new WebSocketPair()
      engine.sockets.open(this.sockets.accept(server), session)
      const protocol = request.headers.get(protocolHeader)
      const headers = protocol === null ? {} : { [protocolHeader]: protocol }
      return new Response(null, { status: 101, webSocket: client, headers })
    }

    async call(session: RequestSession, body: string, isRewritten?: boolean): Promise<ObjectAnswer> {
      if (this.engine === undefined) throw new Error(couldNotStart)
      if (this.gate?.admits(session.tenant) === false) return { status: missingStatus, body: "" }
      this.flushing.request((work) => this.ctx.waitUntil(work))
      this.gate?.used()
      return this.engine.http.call(session, body, isRewritten)
    }

    async readQuery(session: RequestSession, request: ValueRequest): Promise<ObjectValue> {
      if (this.engine === undefined) throw new Error(couldNotStart)
      if (this.gate?.admits(session.tenant) === false) return { status: missingStatus, body: "" }
      this.flushing.request((work) => this.ctx.waitUntil(work))
      this.gate?.used()
      return this.engine.http.readQuery(session, request)
    }

    async update(update: TenantUpdate): Promise<void> {
      const { ctx, engine } = this
      await this.gate?.take(update, {
        opened: () => engine?.alarm(),
        closeAll: () => {
          engine?.sockets.closeAll(noSuchTenant)
          // Also without an engine: it may not have started.
          for (const socket of ctx.getWebSockets()) socket.close(...noSuchTenant)
        },
        deleteAll: async () => {
          await ctx.storage.deleteAlarm()
          await ctx.storage.deleteAll()
        }
      })
    }

    async migrate(): Promise<TenantMigration> {
      const { engine } = this
      if (engine === undefined) return { state: "failed", detail: this.startFailure }
      const { detail, state } = engine.migration
      return { state, detail }
    }

    async explain() {
      return this.engine?.live.explain() ?? []
    }

    async plan(target?: TargetData) {
      return Migrations.planFor(CloudflareDatabase.make(this.ctx.storage), () => this.app(), target)
    }

    async run<A, E>(effect: Effect.Effect<A, E, Live | Transactor>): Promise<A> {
      if (this.engine === undefined) throw new Error(couldNotStart)
      const { local, refusal, transactor } = this.engine
      if (refusal !== undefined) throw new Error(refusal)
      return this.runtime.runPromise(
        effect.pipe(Effect.provideService(Live, local), Effect.provideService(Transactor, transactor))
      )
    }

    /** The platform's alarm. It must not fail: the platform would give up after six retries. */
    override async alarm(): Promise<void> {
      // What is due is delivered when a start succeeds, which the platform does not know of.
      if (this.engine === undefined) {
        return this.ctx.storage.setAlarm((await Effect.runPromise(Clock.currentTimeMillis)) + alarmAgain)
      }
      this.engine.alarm()
    }

    override webSocketMessage(socket: ObjectSocket, data: string | ArrayBuffer): void {
      if (this.gate?.isOpen() === false) return socket.close(...noSuchTenant)
      this.flushing.request((work) => this.ctx.waitUntil(work))
      this.gate?.used()
      this.engine?.sockets.message(this.sockets.of(socket), data)
    }

    override webSocketClose(socket: ObjectSocket): void {
      this.engine?.sockets.closed(this.sockets.of(socket))
    }

    override webSocketError(socket: ObjectSocket): void {
      this.engine?.sockets.closed(this.sockets.of(socket))
    }

    /** Actions run in the Worker: here their I/O would keep the object awake, and their work would block calls. */
    private async *runAction(
      request: RpcRequest,
      session: RequestSession,
      signal: AbortSignal
    ): AsyncGenerator<FromServerEncoded> {
      try {
        const response = await fetchActions(this.ctx, { session }, request, signal)
        yield* readAnswers(response, request.id, app.limits)
      } catch (cause) {
        const detail = hungDetail(cause)
        throw detail === undefined ? cause : new ActionEnded(detail)
      }
    }
  }
}
