import { DurableObject } from "cloudflare:workers"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { App } from "../engine/App.ts"
import * as Backend from "../engine/Backend.ts"
import { fetch } from "../engine/Exchange.ts"
import type { Host, Session, Socket } from "../engine/Host.ts"
import * as Messages from "../engine/HttpMessages.ts"
import { readLines } from "../engine/Lines.ts"
import { Live } from "../engine/Live.ts"
import type { Explanation } from "../engine/LiveQueries.ts"
import * as CloudflareDatabase from "../layers/cloudflare/Database.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"

const couldNotStart = "the object could not start; the cause is in its log"

/** The object of one tenant, for classes that extend it. */
export interface TenantObject extends DurableObject {
  /** What each live query read, what last woke it, how often it ran and how often in vain. */
  explain(): Promise<ReadonlyArray<Explanation>>
  /** Runs an effect beside the tables, with the app's live queries. */
  run<A, E>(effect: Effect.Effect<A, E, Live>): Promise<A>
}

export type TenantObjectClass = new (ctx: DurableObjectState, env: Cloudflare.Env) => TenantObject

/** Makes the Durable Object class of an app: one object, one tenant, one database. */
export const make = <Rpcs extends Rpc.Any>(app: App<Rpcs>): TenantObjectClass =>
  class extends DurableObject implements TenantObject {
    private backend: Backend.Backend | undefined
    private readonly sockets = new WeakMap<WebSocket, Socket>()

    constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))
      // Nothing arrives before the tables are up to date.
      ctx.blockConcurrencyWhile(async () => {
        const boot = Backend.make(app, this.host).pipe(
          Effect.provide(CloudflareDatabase.layer(ctx.storage)),
          Scope.provide(Scope.makeUnsafe())
        )
        const exit = await Effect.runPromiseExit(boot)
        if (Exit.isSuccess(exit)) {
          this.backend = exit.value
          return
        }
        await Effect.runPromise(Effect.logError("the object could not start", exit.cause))
        // The platform goes on answering pings: a client that is not told would wait for ever.
        for (const socket of ctx.getWebSockets()) socket.close(1011, couldNotStart)
      })
    }

    override async fetch(request: Request): Promise<Response> {
      const { backend } = this
      if (backend === undefined) return Messages.refused(503, couldNotStart)
      return fetch(backend, request, app.limits, (session) => {
        const { 0: client, 1: server } = new WebSocketPair()
        this.ctx.acceptWebSocket(server)
        backend.sockets.open(this.socket(server), session)
        const protocol = request.headers.get(Messages.protocolHeader)
        const headers = protocol === null ? {} : { [Messages.protocolHeader]: protocol }
        return new Response(null, { status: 101, webSocket: client, headers })
      })
    }

    async run<A, E>(effect: Effect.Effect<A, E, Live>): Promise<A> {
      if (this.backend === undefined) throw new Error("the object could not start")
      return Effect.runPromise(Effect.provideService(effect, Live, this.backend.local))
    }

    async explain() {
      return this.backend?.live.explain() ?? []
    }

    override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
      this.backend?.sockets.message(this.socket(socket), data)
    }

    override webSocketClose(socket: WebSocket): void {
      this.backend?.sockets.closed(this.socket(socket))
    }

    override webSocketError(socket: WebSocket): void {
      this.backend?.sockets.closed(this.socket(socket))
    }

    /** One `Socket` for each WebSocket, so that the engine can know it again. */
    private socket(webSocket: WebSocket): Socket {
      let socket = this.sockets.get(webSocket)
      if (socket === undefined) {
        socket = {
          send: (text) => {
            try {
              webSocket.send(text)
            } catch {
              // It has closed, which the object hears of by `webSocketClose`.
            }
          },
          close: (code, reason) => webSocket.close(code, reason),
          attachment: () => webSocket.deserializeAttachment(),
          attach: (value) => webSocket.serializeAttachment(value)
        }
        this.sockets.set(webSocket, socket)
      }
      return socket
    }

    private readonly host: Host = {
      sockets: () => this.ctx.getWebSockets().map((webSocket) => this.socket(webSocket)),
      afterCommit: (task) => {
        // `sync` resolves when the commit is on disk, which is when answers leave; a turn later they have left.
        this.ctx.waitUntil(
          this.ctx.storage
            .sync()
            .then(() => scheduler.wait(0))
            .then(task)
        )
      },
      soon: (task) => {
        this.ctx.waitUntil(scheduler.wait(0).then(task))
      },
      act: (request, session, signal) => this.act(request, session, signal),
      now: Date.now,
      socketId: () => crypto.randomUUID()
    }

    /** The Worker runs actions: here their I/O would keep the object awake and everybody's calls in its way. */
    private async *act(request: RpcRequest, session: Session, signal: AbortSignal): AsyncGenerator<FromServerEncoded> {
      const worker: Fetcher = (this.ctx as any).exports.default({ props: { session } })
      const response = await worker.fetch(Messages.objectUrl, {
        method: "POST",
        headers: { accept: Messages.ndjson },
        body: JSON.stringify(request),
        signal
      })
      for await (const line of readLines(response.body!)) yield JSON.parse(line)
    }
  }
