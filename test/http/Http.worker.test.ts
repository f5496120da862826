/// <reference types="@cloudflare/vitest-plugin/types" />
import { createExecutionContext, env, runInDurableObject, SELF } from "cloudflare:test"
import { cloudflare, object, toPeer } from "../deployment/cloudflare.ts"
import Worker from "../worker/worker.ts"
import { suite } from "./httpCases.ts"

const origin = "https://dormouse.test"

suite("in workerd", async () => ({
  ...cloudflare(),
  origin,
  upgrade: async (tenant, headers) =>
    toPeer(
      await SELF.fetch(`${origin}/rpc`, { headers: { upgrade: "websocket", "x-dormouse-tenant": tenant, ...headers } })
    ),
  forgetting: async (tenant, connect) => {
    const connected = await connect()
    const { evict, stub } = object(env.TENANT_OBJECT, tenant)
    await runInDurableObject(stub(), (_, ctx) => {
      for (const socket of ctx.getWebSockets()) {
        const attached = JSON.parse(socket.deserializeAttachment())
        socket.serializeAttachment(JSON.stringify({ ...attached, subscriptions: [], progress: [] }))
        // The object may save once more before it is evicted: an acknowledgement is still under way.
        socket.serializeAttachment = () => {}
      }
    })
    await evict()
    return connected
  },
  trigger: (cron, scheduledTime) => new Worker(createExecutionContext(), env).scheduled({ cron, scheduledTime })
}))
