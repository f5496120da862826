/// <reference types="node" />
import type { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import type { App } from "effect-dormouse"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import { vi } from "vitest"
import * as Transport from "../../src/client/Transport.ts"
import { MemorySockets } from "../../src/layers/memory/SocketHost.ts"
import { type Deployment, Peer, toTenant } from "./Deployment.ts"

/** An app in memory, whose objects the test can take apart. */
export interface MemoryDeployment extends Deployment {
  readonly object: TestApp["Service"]["object"]
  readonly close: () => Promise<void>
  /** Runs an effect with the services that the app runs with. */
  readonly run: <A>(effect: Effect.Effect<A, unknown, TestApp>) => Promise<A>
  /** Asks for a socket, with headers of the handshake. */
  readonly upgrade: (tenant: string, headers: Record<string, string>) => Promise<Peer>
}

/** Changes what objects in memory attach to their sockets, as if they stored something else. Returns what ends it. */
export const changeAttachments = (change: (text: string) => string): (() => void) => {
  const { of } = MemorySockets.prototype
  const changed = new WeakSet<object>()
  const spy = vi.spyOn(MemorySockets.prototype, "of").mockImplementation(function (this: MemorySockets, socket) {
    const host = of.call(this, socket)
    if (changed.has(host)) return host
    changed.add(host)
    const { attach } = host
    return Object.assign(host, { attach: (text: unknown) => attach(change(text as string)) })
  })
  return () => spy.mockRestore()
}

/** Some turns of the event loop, in which everything runs that follows in memory from what has happened. */
export const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Runs an app in the memory of this process, with the time of a `TestClock` if given. */
export const memory = async <S, A, M>(
  app: App.App<any, S, A, M>,
  options?: TestAppOptions<S, A, M>,
  clock: Layer.Layer<never> = Layer.empty
): Promise<MemoryDeployment> => {
  const log: Array<string> = []
  const runtime = ManagedRuntime.make(
    TestApp.layer(app, options).pipe(
      Layer.provideMerge(Logger.layer([Logger.map(Logger.formatJson, (line) => void log.push(line))])),
      Layer.provideMerge(clock)
    )
  )
  const { object, transport, url } = await runtime.runPromise(TestApp)
  const fetch = await runtime.runPromise(Effect.provide(Transport.Fetch, transport))
  const socketOf = await runtime.runPromise(Effect.provide(Socket.WebSocketConstructor, transport))
  const opened = async (socket: Socket.WebSocketLike): Promise<Peer> => {
    const peer = new Peer(socket as Pick<WebSocket, "send" | "close">)
    const opened = new Promise<void>((resolve) => socket.addEventListener("open", () => resolve()))
    socket.addEventListener("message", ({ data }) => peer.received(data as string))
    socket.addEventListener("close", ({ code, reason }) => peer.ended(code ?? 1005, reason ?? ""))
    await opened
    return peer
  }
  const socketUrl = (tenant: string) => `${url.replace("http", "ws")}/rpc?tenant=${encodeURIComponent(tenant)}`
  return {
    fetch: (path, init = {}) => fetch(`${url}${path}`, init),
    connect: (tenant, _place, token) =>
      opened(socketOf(socketUrl(tenant), token === undefined ? [] : ["dormouse", `dormouse.bearer.${token}`])),
    upgrade: (tenant, headers) => opened(socketOf(socketUrl(tenant), { headers })),
    protocol: (kind, tenant, batch) => {
      const serialization = RpcSerialization.layerJson
      if (kind === "http") {
        return RpcClient.layerProtocolHttp({
          url: `${url}/rpc`,
          transformClient: toTenant(tenant),
          ...(batch && { batch })
        }).pipe(Layer.provide([serialization, transport]))
      }
      const socket = Layer.effect(Socket.Socket, Socket.makeWebSocket(socketUrl(tenant)))
      return RpcClient.layerProtocolSocket().pipe(Layer.provide([serialization, Layer.provide(socket, transport)]))
    },
    evict: (tenant) => object(tenant).evict(),
    starts: (tenant) => object(tenant).starts,
    logged: () => log.splice(0).join("\n"),
    object,
    run: (effect) => runtime.runPromise(effect),
    close: () => runtime.dispose()
  }
}

/** Copies what an object has stored to another one, which has not started yet. */
export const copy = (from: DatabaseSync, to: DatabaseSync): void => {
  const made = from.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC").all()
  const tables: Array<string> = []
  for (const { name, sql } of made) {
    if (!String(name).startsWith("sqlite_")) to.exec(String(sql))
    if (String(sql).startsWith("CREATE TABLE")) tables.push(String(name))
  }
  for (const table of tables) {
    for (const row of from.prepare(`SELECT * FROM "${table}"`).all()) {
      const columns = Object.keys(row)
      const places = columns.map(() => "?").join(", ")
      to.prepare(`INSERT INTO "${table}" (${columns.join(", ")}) VALUES (${places})`).run(...Object.values(row))
    }
  }
}
