/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import type { RequestSession } from "../../src/engine/rpc/SessionHeader.ts"
import * as ActionRunner from "../../src/engine/worker/ActionRunner.ts"
import { deploymentCalls } from "../../src/engine/worker/DeploymentCalls.ts"
import { Gateway, type GatewayHost, type GatewayOptions, type GatewayRequest } from "../../src/engine/worker/Gateway.ts"
import { runLocally } from "../../src/engine/worker/LocalActions.ts"
import { tenantOf } from "../../src/engine/worker/Routing.ts"
import { SystemCalls } from "../../src/services/SystemCalls.ts"
import { SystemApi, systemName } from "../../src/system/SystemApi.ts"
import { systemApp } from "../../src/system/SystemApp.ts"
import { MemoryObject } from "../../src/testing/MemoryObject.ts"
import { Peer } from "../deployment/Deployment.ts"
import { marks, NotesApi, NotesHandlers, notes } from "../worker/notes.ts"
import { doorHost, enter, exists, explain, type Issuer, Me } from "./callers.ts"
import type { Door } from "./Door.ts"

const endlessly = { limit: Number.POSITIVE_INFINITY, window: "1 minute" } as const

/** The app of `worker/notes.ts`, which declares who may be calling. Nobody calls too often. */
const app = App.make({
  api: NotesApi,
  tables: [notes, marks],
  handlers: NotesHandlers,
  identity: Me,
  limits: { callsPerIdentity: endlessly, callsPerAddress: endlessly }
})

/** What a control changes: it removes one check. */
export interface Weakness {
  /** Wakes the object of the tenant that a request names, before anything is checked. */
  readonly wakes?: boolean
  readonly options?: Partial<GatewayOptions>
  readonly request?: (request: Request) => Partial<GatewayRequest>
  readonly stub?: (stub: ObjectStub, tenant: string, stubOf: (tenant: string) => ObjectStub) => ObjectStub
}

/** The gateway and its objects in the memory of this process. Sockets are opened with the headers of their handshake. */
export const memoryDoor = async (issuer: Issuer, weakness: Weakness = {}): Promise<Door> => {
  const scope = Scope.makeUnsafe()
  // The log of refused and failing calls is long, and nobody reads it.
  const context = await Effect.runPromise(Scope.provide(Layer.build(Logger.layer([])), scope))
  const run = Effect.runPromiseWith(context)
  // The deployment's own object is reached through no stub that counts.
  const system = deploymentCalls(SystemApi, systemName, { call: (...call) => object(systemName).stub.call(...call) })
  const host = Layer.mergeAll(FetchHttpClient.layer, Layer.succeed(SystemCalls, system))
  const built = Layer.provideMerge(issuer.layer, host)
  const services = await run(Scope.provide(Layer.build(built), scope))
  const actions = await run(ActionRunner.make(app).pipe(Effect.provideContext(services), Scope.provide(scope)))
  const gateway = new Gateway(app, { auth: issuer.layer, enter, tenants: exists, explain, ...weakness.options })
  const objects = new Map<string, MemoryObject<any>>()
  const reached = new Map<string, number>()
  const object = (tenant: string): MemoryObject<any> => {
    let found = objects.get(tenant)
    if (found === undefined) {
      const database = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
      const own = tenant === systemName ? systemApp() : app
      const renew = (request: Request, renews: RequestSession) =>
        gateway.handle(
          hostOf((tenant) => object(tenant).stub),
          { request, renews }
        )
      found = new MemoryObject<any>({
        tenant,
        app: own,
        database,
        actions,
        context,
        renew,
        sessions: { expired: "close" }
      })
      objects.set(tenant, found)
    }
    return found
  }
  const count = (tenant: string) => reached.set(tenant, (reached.get(tenant) ?? 0) + 1)
  const platform: Omit<GatewayHost, "object" | "runApart"> = {
    system,
    actions: async () => actions,
    authenticator: async () => Context.get(services, Auth.Authenticator),
    addressOf: (request) => request.headers.get("cf-connecting-ip") ?? undefined,
    waitUntil: () => {},
    run: (effect) => run(effect),
    isTraced: false
  }
  const hostOf = (object: GatewayHost["object"]): GatewayHost => ({
    ...platform,
    object,
    runApart: runLocally(app, { ...platform, object })
  })
  return {
    issuer,
    isDeclared: true,
    isExact: true,
    reached: (tenant) => reached.get(tenant) ?? 0,
    send: async ({ body, headers, method, path }) => {
      const request = new Request(`https://${doorHost}${path}`, {
        method,
        headers: headers as Array<[string, string]>,
        ...(body !== undefined && { body })
      })
      let peer: Peer | undefined
      const stubOf = (tenant: string): ObjectStub => {
        const { stub } = object(tenant)
        return {
          call: (...call) => {
            count(tenant)
            return stub.call(...call)
          },
          readQuery: (...call) => {
            count(tenant)
            return stub.readQuery(...call)
          },
          explain: (...call) => {
            count(tenant)
            return stub.explain(...call)
          },
          plan: (...call) => {
            count(tenant)
            return stub.plan(...call)
          },
          connect: async (session) => {
            count(tenant)
            peer = await opened(object(tenant).connect(async () => session))
            return new Response()
          }
        }
      }
      const tenant = tenantOf(request, new URL(request.url))
      if (weakness.wakes === true && tenant !== undefined) await stubOf(tenant).explain(noSession)
      const response = await gateway.handle(
        {
          ...hostOf((tenant) => weakness.stub?.(stubOf(tenant), tenant, stubOf) ?? stubOf(tenant)),
          closeSocket: ({ code, reason }) => {
            peer = new Peer({ send: () => {}, close: () => {} })
            peer.ended(code, reason)
            return new Response()
          }
        },
        { request, ...weakness.request?.(request) }
      )
      return peer === undefined ? { response } : { peer }
    },
    evict: (tenant) => object(tenant).evict(),
    left: async (tenant) => {
      const { live } = await object(tenant).engine()
      const { network } = object(tenant)
      network.log.length = 0
      return { sockets: network.wires.size, queries: live.explain().length }
    },
    close: async () => {
      for (const object of objects.values()) {
        await object.crash()
        object.database.close()
      }
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}

const noSession = { tenant: "", identity: Auth.anonymous }

const opened = async (socket: ReturnType<MemoryObject<any>["connect"]>): Promise<Peer> => {
  const peer = new Peer(socket as Pick<WebSocket, "send" | "close">)
  const open = new Promise<void>((resolve) => socket.addEventListener("open", () => resolve()))
  socket.addEventListener("message", ({ data }) => peer.received(data as string))
  socket.addEventListener("close", ({ code, reason }) => peer.ended(code ?? 1005, reason ?? ""))
  await open
  return peer
}
