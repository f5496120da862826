/// <reference types="@cloudflare/vitest-plugin/types" />
import { env, evictDurableObject, runInDurableObject } from "cloudflare:test"
import { vi } from "vitest"
import { AckDeadlines } from "../../src/engine/object/AckDeadlines.ts"
import { objectUrl, sessionHeaders } from "../../src/engine/rpc/SessionHeader.ts"
import { Peer } from "../deployment/Deployment.ts"
import { suite } from "./liveSuite.ts"

// An object whose client has not acknowledged a frame stays awake, and an eviction waits for its timer. The suite evicts such
// objects all the same, to see what they take up again; `Hibernation.worker.test.ts` sees that they stay awake.
vi.spyOn(AckDeadlines.prototype, "start").mockImplementation(() => {})

suite("Live queries in workerd", async () => {
  const stub = (tenant: string) => env.LISTS.getByName(tenant)
  return {
    connect: async (tenant, subject) => {
      const session = sessionHeaders({ tenant, identity: { subject: subject ?? null, claims: {} } })
      const response = await stub(tenant).fetch(objectUrl, { headers: { ...session, upgrade: "websocket" } })
      const socket = response.webSocket!
      socket.accept()
      const peer = new Peer(socket as never)
      socket.addEventListener("message", ({ data }) => peer.received(data as string))
      socket.addEventListener("close", ({ code, reason }) => peer.ended(code, reason))
      return peer
    },
    evict: (tenant) => evictDurableObject(stub(tenant)),
    explain: (tenant) => (stub(tenant) as any).explain(),
    rows: (tenant, sql) =>
      runInDurableObject(stub(tenant), (_, state) => Promise.resolve(state.storage.sql.exec(sql).toArray()))
  }
})
