import { env } from "cloudflare:test"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { objectUrl, sessionHeaders } from "../../src/engine/rpc/SessionHeader.ts"
import { object, toPeer } from "../deployment/cloudflare.ts"
import { type Doors, suite } from "./callerLimitCases.ts"

const doorsOf =
  (namespace: DurableObjectNamespace) =>
  (tenant: string): Doors => {
    const { evict, stub } = object(namespace, tenant)
    return {
      connect: async (session) => {
        const response = await stub().fetch(objectUrl, {
          headers: { ...sessionHeaders(session), upgrade: "websocket" }
        })
        if (response.status !== 429) return toPeer(response)
        await response.text()
        if (!/^[1-9]\d*$/.test(response.headers.get("retry-after") ?? "")) throw new Error("no Retry-After")
        return undefined
      },
      call: (session, text) => (stub() as unknown as Pick<ObjectStub, "call">).call(session, text),
      evict: () => evict()
    }
  }

suite("Limits of callers in workerd", { small: doorsOf(env.SMALL_DOORS), open: doorsOf(env.OPEN_DOORS) })
