import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Semaphore from "effect/Semaphore"
import { kindOf } from "../../src/contract/Kind.ts"
import { GuardedApi } from "../worker/guarded.ts"
import { NotesApi } from "../worker/notes.ts"
import type { Deployment } from "./Deployment.ts"

/**
 * A deployment whose objects lose their heap between every two messages of Effect's own client. Only while an action runs
 * do they keep it: the platform does not evict an object that waits for one.
 */
export const evicting = (deployment: Deployment): Deployment => {
  /** The start of each object whose heap was evicted last. Before another start workerd refuses to evict it. */
  const evicted = new Map<string, number>()
  const evict = async (tenant: string): Promise<void> => {
    const start = deployment.starts(tenant)
    if (start === (evicted.get(tenant) ?? 0)) return
    evicted.set(tenant, start)
    // The platform refuses when it has evicted the object itself.
    await deployment.evict(tenant).catch(() => {})
  }
  return { ...deployment, evict, protocol: (...asked) => protocol(deployment, evict, ...asked) }
}

const isAction = (tag: string): boolean => {
  const rpc = NotesApi.requests.get(tag) ?? GuardedApi.requests.get(tag)
  return rpc !== undefined && kindOf(rpc) === "action"
}

const protocol = (
  deployment: Deployment,
  evict: Deployment["evict"],
  ...[kind, tenant, batch]: Parameters<Deployment["protocol"]>
) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const inner = Context.get(yield* Layer.build(deployment.protocol(kind, tenant, batch)), RpcClient.Protocol)
      const oneByOne = Semaphore.makeUnsafe(1)
      /** The actions that run, and the calls over HTTP that were not answered. */
      const running = new Set<string | number>()
      /** Whether an action runs whose result was discarded: its exit only says that it has begun. */
      let isDiscarded = false
      const between = oneByOne.withPermit(
        Effect.suspend(() => (running.size > 0 || isDiscarded ? Effect.void : Effect.promise(() => evict(tenant))))
      )
      return Context.make(RpcClient.Protocol, {
        ...inner,
        send: (clientId, message, transferables) => {
          const id = message._tag === "Request" ? message.id : undefined
          const isKept = message._tag === "Request" && (kind === "http" || isAction(message.tag))
          const send = Effect.suspend(() => {
            if (isKept) running.add(id!)
            if (isKept && message.discard === true && kind === "socket") isDiscarded = true
            return inner.send(clientId, message, transferables)
          })
          const sent = Effect.andThen(between, send)
          return kind === "http"
            ? Effect.ensuring(
                sent,
                Effect.sync(() => running.delete(id!))
              )
            : sent
        },
        run: (clientId, f) =>
          inner.run(clientId, (message) => {
            if (kind === "http") return f(message)
            if (message._tag === "Exit") running.delete(message.requestId)
            return Effect.andThen(between, f(message))
          })
      })
    })
  )
