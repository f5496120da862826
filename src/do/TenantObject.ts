import { DurableObject } from "cloudflare:workers"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { App } from "../engine/App.ts"
import * as Backend from "../engine/Backend.ts"
import { exchange } from "../engine/Exchange.ts"
import { type Connection, failure } from "../engine/Server.ts"
import * as CloudflareDatabase from "../layers/cloudflare/Database.ts"
import { CallError, Unavailable } from "../protocol/CallError.ts"
import { ping, pong, type Request as RpcRequest } from "../protocol/Messages.ts"
import * as FrontDoor from "./FrontDoor.ts"

/** Makes the Durable Object class of an app: one object, one tenant, one database. */
export const make = <Rpcs extends Rpc.Any>(app: App<Rpcs>) =>
  class TenantObject extends DurableObject {
    private backend: Backend.Backend | undefined
    private readonly connections = new WeakMap<WebSocket, Connection>()

    constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))
      // Nothing arrives before the tables are up to date.
      ctx.blockConcurrencyWhile(async () => {
        const boot = Backend.make(app).pipe(
          Effect.provide(CloudflareDatabase.layer(ctx.storage)),
          Scope.provide(Scope.makeUnsafe())
        )
        const exit = await Effect.runPromiseExit(boot)
        if (Exit.isSuccess(exit)) this.backend = exit.value
        else await Effect.runPromise(Effect.logError("the object could not start", exit.cause))
      })
    }

    override async fetch(request: Request): Promise<Response> {
      if (this.backend === undefined)
        return FrontDoor.refused(503, "the object could not start; the cause is in its log")
      if (request.headers.get("upgrade") === "websocket") return this.accept(request)
      const body = await FrontDoor.readRequests(request, app.limits)
      if (body instanceof Response) return body
      const answers = await exchange(this.backend.server, body.requests)
      return new Response(FrontDoor.encodeAnswers(answers, app.limits), { headers: jsonHeaders })
    }

    private accept(request: Request): Response {
      const { 0: client, 1: server } = new WebSocketPair()
      this.ctx.acceptWebSocket(server)
      server.serializeAttachment({ tenant: request.headers.get("x-dormouse-tenant") ?? "main" })
      return new Response(null, { status: 101, webSocket: client })
    }

    override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
      const text = typeof data === "string" ? data : new TextDecoder().decode(data)
      if (text.length > app.limits.requestBytes) return socket.close(1009, "limit requestBytes")
      const messages = FrontDoor.decodeFrame(text)
      if (messages === undefined) return socket.close(1007, "not messages of effect/rpc")
      if (messages.length > app.limits.requestsPerBatch) return socket.close(1008, "limit requestsPerBatch")
      const connection = this.connection(socket)
      for (const message of messages) {
        if (message._tag === "Request" && FrontDoor.isAction(app, message as RpcRequest)) {
          this.ctx.waitUntil(this.act(socket, message as RpcRequest))
        } else connection.receive(message)
      }
    }

    override webSocketClose(socket: WebSocket): void {
      this.connections.get(socket)?.close()
      this.connections.delete(socket)
    }

    override webSocketError(socket: WebSocket): void {
      this.webSocketClose(socket)
    }

    private connection(socket: WebSocket): Connection {
      let connection = this.connections.get(socket)
      if (connection === undefined) {
        connection = this.backend!.server.open((message) => this.send(socket, message))
        this.connections.set(socket, connection)
      }
      return connection
    }

    private send(socket: WebSocket, message: FromServerEncoded): void {
      if (socket.readyState !== WebSocket.OPEN) return
      socket.send(FrontDoor.encodeAnswer(message, app.limits))
    }

    /** Actions do I/O, which would keep everybody else's calls waiting here: the Worker runs them. */
    private async act(socket: WebSocket, request: RpcRequest): Promise<void> {
      const { tenant } = socket.deserializeAttachment() as { readonly tenant: string }
      const worker = (this.ctx as any).exports.default as Fetcher
      try {
        const response = await worker.fetch("https://dormouse/rpc", {
          method: "POST",
          headers: { "x-dormouse-tenant": tenant },
          body: JSON.stringify(request)
        })
        for (const answer of await response.json<ReadonlyArray<FromServerEncoded>>()) this.send(socket, answer)
      } catch (cause) {
        await Effect.runPromise(Effect.logError("an action could not be handed to the Worker", cause))
        const reason = new Unavailable({ detail: "the Worker did not answer" })
        this.send(socket, { _tag: "Exit", requestId: request.id, exit: failure(new CallError({ reason })) })
      }
    }
  }

const jsonHeaders = { "content-type": "application/json" }
