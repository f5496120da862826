/**
 * Calls of tenants by code of the Worker: by routes and cron triggers, which say tenant and identity.
 * They are admitted as the gateway admits calls, but for the token: the tenant must exist, and the limits of callers hold.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../../contract/App.ts"
import type { TenantCalls } from "../../contract/Calls.ts"
import { kindOf } from "../../contract/Kind.ts"
import { CallError, Forbidden, PayloadInvalid } from "../../protocol/CallError.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { joinMessages } from "../rpc/HttpBody.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { decodeAnswer, requestOf, unanswered } from "./ActionRunner.ts"
import type { Admission, InsideHost } from "./Admission.ts"
import { Missing } from "./Tenancy.ts"

/** The calls of tenants of an app. */
export const workerCalls = (
  { api }: Pick<App<any>, "api">,
  admission: Admission,
  host: InsideHost
): TenantCalls["Service"] => ({
  call: (caller, tag, payload) =>
    Effect.gen(function* () {
      const rpc: Rpc.Any | undefined = api.declared.requests.get(tag)
      const kind = rpc && kindOf(rpc)
      if (rpc === undefined || kind === undefined || kind === "topic") {
        return yield* Effect.die(new Error(`the contract has no query, mutation or action ${tag}`))
      }
      const codec = RpcCodec.of(rpc)
      const json = yield* Effect.try({
        try: () => codec.encodePayload(payload),
        catch: (cause) => new CallError({ reason: new PayloadInvalid({ issue: messageOf(cause) }) })
      })
      const request = yield* requestOf(tag, json)
      const session = yield* Effect.promise(() => admission.enterInside(host, caller))
      if ("_tag" in session) return yield* new CallError({ reason: session })
      const body = yield* Effect.tryPromise({
        try: async (signal) => {
          const entered = host.tenancy?.stub(session, (work) => host.waitUntil(work))
          const object = entered ?? host.object(objectOf(session))
          if (kind !== "action") return (await object.call(session, JSON.stringify(request))).body
          // Actions run without the object, which could otherwise say that the tenant is suspended.
          await entered?.verify()
          return joinMessages(await host.runApart([request], session, signal))
        },
        catch: (cause) => (cause instanceof Missing ? new CallError({ reason: new Forbidden() }) : unanswered)
      })
      return yield* decodeAnswer(codec, body)
    })
})

const objectOf = ({ object, tenant }: RequestSession): string => object ?? tenant

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
