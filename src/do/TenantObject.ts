/**
 * The Durable Object class of an app: one object, one tenant, one database. It translates the platform's events for the
 * engine and decides nothing.
 */
import { DurableObject } from "cloudflare:workers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { App } from "../contract/App.ts"
import { Live } from "../contract/Live.ts"
import { ActionEnded, ActionHost } from "../engine/object/ActionRelay.ts"
import type { Explanation } from "../engine/object/LiveQueries.ts"
import * as TenantEngine from "../engine/object/TenantEngine.ts"
import { describeTooMany, retryHeaders } from "../engine/rpc/CallRates.ts"
import { errorResponse } from "../engine/rpc/HttpBody.ts"
import { readAnswers } from "../engine/rpc/Ndjson.ts"
import type { ObjectAnswer } from "../engine/rpc/ObjectStub.ts"
import { protocolHeader, type RequestSession, readSession } from "../engine/rpc/SessionHeader.ts"
import * as CloudflareBackground from "../layers/cloudflare/Background.ts"
import * as CloudflareDatabase from "../layers/cloudflare/Database.ts"
import { CloudflareSockets } from "../layers/cloudflare/SocketHost.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"
import { Background } from "../services/Background.ts"
import { Database } from "../services/Database.ts"
import { SocketHost } from "../services/SocketHost.ts"
import { Transactor } from "../services/Transactor.ts"
import { systemName } from "../system/SystemApi.ts"
import { systemApp } from "../system/SystemApp.ts"
import {
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

/** The object of one tenant, for classes that extend it. */
export interface TenantObject extends ObjectBase {
  /** Answers the requests in the text of a body, in the name of a caller. */
  call(session: RequestSession, body: string, isRewritten?: boolean): Promise<ObjectAnswer>
  /** What each live query reads and costs. */
  explain(): Promise<ReadonlyArray<Explanation>>
  /** Runs an effect beside the calls, with the app's live queries and transactions. */
  run<A, E>(effect: Effect.Effect<A, E, Live | Transactor>): Promise<A>
}

/** The Durable Object class of an app. */
export type TenantObjectClass = new (ctx: ObjectState, env: Cloudflare.Env) => TenantObject

/** Makes the Durable Object class of an app. */
export const make = <Rpcs extends Rpc.Any, R = never>(
  app: App<Rpcs>,
  options: HostOptions<R> = {}
): TenantObjectClass =>
  class extends Base implements TenantObject {
    private engine: TenantEngine.TenantEngine | undefined
    private readonly sockets: CloudflareSockets
    private readonly runtime: HostRuntime<R>
    private readonly flushing: Flushing<R>

    constructor(ctx: ObjectState, env: Cloudflare.Env) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))
      this.sockets = new CloudflareSockets(ctx)
      this.runtime = new HostRuntime(options, env)
      this.flushing = new Flushing(this.runtime, options)
      const booting = this.runtime.runFork(this.boot())
      const booted = booting.pollUnsafe()
      if (booted !== undefined && Exit.isSuccess(booted)) this.engine = booted.value
      // No event arrives before the tables are up to date, and before an author's layer is built that waits for something.
      else void ctx.blockConcurrencyWhile(() => this.finishBoot(booting))
    }

    private async finishBoot(booting: Fiber.Fiber<TenantEngine.TenantEngine, unknown>): Promise<void> {
      const exit = await Effect.runPromise(Fiber.await(booting))
      if (Exit.isSuccess(exit)) {
        this.engine = exit.value
        return
      }
      await logStartFailure(this.runtime, "the object could not start", exit.cause)
      // The platform still answers pings: close the sockets so that their clients reconnect.
      for (const socket of this.ctx.getWebSockets()) socket.close(1011, couldNotStart)
    }

    private boot() {
      const host = Context.make(Database, CloudflareDatabase.make(this.ctx.storage)).pipe(
        Context.add(SocketHost, this.sockets.service),
        Context.add(Background, CloudflareBackground.make(this.ctx)),
        Context.add(ActionHost, {
          runAction: (request, session, signal) => this.runAction(request, session, signal),
          renewSession: (token, session, signal) => fetchSession(this.ctx, token, session, signal)
        })
      )
      const { name: tenant } = this.ctx.id
      const engineOptions = { tenant, now: Date.now, sessions: options }
      const engine =
        tenant === systemName ? TenantEngine.make(systemApp(), engineOptions) : TenantEngine.make(app, engineOptions)
      return engine.pipe(
        Effect.provideContext(host),
        // The engine lives as long as the heap; nothing ends it before.
        Scope.provide(Scope.makeUnsafe())
      )
    }

    override async fetch(request: Request): Promise<Response> {
      const { engine } = this
      if (engine === undefined) return errorResponse(503, couldNotStart)
      const session = readSession(request)
      if (session === undefined) return errorResponse(403, "only the Worker in front of the object may call it")
      if (request.headers.get("upgrade") !== "websocket") return errorResponse(426, "only sockets are opened here")
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
      this.flushing.request((work) => this.ctx.waitUntil(work))
      return this.engine.http.call(session, body, isRewritten)
    }

    async explain() {
      return this.engine?.live.explain() ?? []
    }

    async run<A, E>(effect: Effect.Effect<A, E, Live | Transactor>): Promise<A> {
      if (this.engine === undefined) throw new Error(couldNotStart)
      const { local, transactor } = this.engine
      return this.runtime.runPromise(
        effect.pipe(Effect.provideService(Live, local), Effect.provideService(Transactor, transactor))
      )
    }

    override webSocketMessage(socket: ObjectSocket, data: string | ArrayBuffer): void {
      this.flushing.request((work) => this.ctx.waitUntil(work))
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
