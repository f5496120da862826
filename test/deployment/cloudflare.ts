/// <reference types="@cloudflare/vitest-plugin/types" />
import { env, evictDurableObject, runInDurableObject, SELF } from "cloudflare:test"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import { vi } from "vitest"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { objectUrl, type RequestSession, sessionHeaders } from "../../src/engine/rpc/SessionHeader.ts"
import { starts } from "../worker/starts.ts"
import { type Deployment, Peer, toTenant } from "./Deployment.ts"

/** An object of a namespace, reached without the gateway. */
export const object = (namespace: DurableObjectNamespace, tenant: string) => {
  // A new stub each time: the stub of a lost object does not work any more.
  const stub = () => namespace.getByName(tenant)
  const id = stub().id.toString()
  const session: RequestSession = { tenant, identity: { subject: null, claims: {} } }
  return {
    stub,
    session,
    call: (session: RequestSession, text: string) =>
      (stub() as unknown as Pick<ObjectStub, "call">).call(session, text),
    starts: () => starts.get(id) ?? 0,
    /** What a statement returns that is run beside the object's own. */
    rows: (sql: string) => runInDurableObject(stub(), (_, { storage }) => [...storage.sql.exec(sql).raw()]),
    connect: async () =>
      toPeer(await stub().fetch(objectUrl, { headers: { ...sessionHeaders(session), upgrade: "websocket" } })),
    evict: (webSockets?: "close") => evictDurableObject(stub(), webSockets === undefined ? {} : { webSockets })
  }
}

/** The client's end of the socket that a response opens. */
export const toPeer = (response: Response): Peer => {
  const socket = response.webSocket
  if (socket === null) throw new Error(`no socket: ${response.status}`)
  socket.accept()
  const peer = new Peer(socket as never)
  socket.addEventListener("message", ({ data }) => peer.received(data as string))
  socket.addEventListener("close", ({ code, reason }) => peer.ended(code, reason))
  socket.addEventListener("error", () => peer.ended(1006, ""))
  return peer
}

/** The log of this isolate. */
const log: Array<string> = []

const origin = "https://dormouse.test"
const upgrade = (tenant: string, place: "header" | "query" = "header", token?: string) => {
  const headers: Record<string, string> = { upgrade: "websocket" }
  if (token !== undefined) headers["sec-websocket-protocol"] = `dormouse, dormouse.bearer.${token}`
  return place === "header"
    ? SELF.fetch(`${origin}/rpc`, { headers: { ...headers, "x-dormouse-tenant": tenant } })
    : SELF.fetch(`${origin}/rpc?tenant=${encodeURIComponent(tenant)}`, { headers })
}

/** The objects of any class, without the Worker in front of them. */
export const objects = (namespace: DurableObjectNamespace): Deployment => ({
  ...cloudflare(namespace),
  fetch: async (_path, init) => {
    const tenant = new Headers(init?.headers).get("x-dormouse-tenant") ?? "main"
    const { call, session } = object(namespace, tenant)
    const text = await new Response(init?.body).text()
    const { body, status } = await call(session, text)
    return new Response(body, { status, headers: { "content-type": "application/json" } })
  },
  connect: (tenant) => object(namespace, tenant).connect()
})

/** The Worker under test and its objects. */
export const cloudflare = (namespace: DurableObjectNamespace = env.TENANT_OBJECT): Deployment => {
  for (const method of ["log", "error", "warn", "info", "debug"] as const) {
    vi.spyOn(console, method).mockImplementation((...parts: ReadonlyArray<unknown>) => {
      log.push(parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join(" "))
    })
  }
  return {
    fetch: (path, init) => SELF.fetch(`${origin}${path}`, init as RequestInit<any>),
    connect: async (tenant, place, token) => toPeer(await upgrade(tenant, place, token)),
    protocol: (kind, tenant, batch) => {
      const serialization = RpcSerialization.layerJson
      if (kind === "http") {
        const fetch: typeof globalThis.fetch = (input, init) =>
          SELF.fetch(input as string, init as RequestInit<any>) as never
        const http = FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)))
        return RpcClient.layerProtocolHttp({
          url: `${origin}/rpc`,
          transformClient: toTenant(tenant),
          ...(batch && { batch })
        }).pipe(Layer.provide([serialization, http]))
      }
      const open = Effect.acquireRelease(
        Effect.promise(async () => {
          const socket = (await upgrade(tenant)).webSocket!
          socket.accept()
          return socket as unknown as Socket.WebSocketLike
        }),
        (socket) => Effect.sync(() => socket.close(1000))
      )
      return RpcClient.layerProtocolSocket().pipe(
        Layer.provide([serialization, Layer.effect(Socket.Socket, Socket.fromWebSocket(open))])
      )
    },
    evict: (tenant) => object(namespace, tenant).evict(),
    starts: (tenant) => object(namespace, tenant).starts(),
    logged: () => log.splice(0).join("\n")
  }
}
