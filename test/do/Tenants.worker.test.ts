import { env, runInDurableObject, SELF } from "cloudflare:test"
import { expect, it } from "vitest"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { cloudflare, toPeer } from "../deployment/cloudflare.ts"
import { request } from "../deployment/Deployment.ts"
import { suite } from "./tenantsCases.ts"

const stub = (object: string) => env.TENANT_OBJECT.getByName(object)

suite(
  "A registry of tenants in workerd",
  async () => ({
    ...cloudflare(),
    stub: (object) => stub(object) as unknown as Required<ObjectStub>,
    tables: (object) =>
      runInDurableObject(stub(object), (_, ctx) =>
        [
          ...ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_cf_%'").raw()
        ].map(([name]) => String(name))
      )
  }),
  { histories: 3 }
)

it("A19: an admin changes tenants over a socket, and its list is live", async () => {
  const headers = { upgrade: "websocket", "x-dormouse-tenant": "~tenants", "x-test-subject": "admin" }
  const peer = toPeer(await SELF.fetch("https://dormouse.test/rpc", { headers }))
  peer.send(request("list", "live:tenants.list", { size: 1000, after: null, until: null }))
  await peer.itemsOf("list", 1)
  peer.send({ _tag: "Ack", requestId: "list" })
  expect(await peer.call("tenants.create", { name: "reg-over-a-socket" })).toMatchObject({ _tag: "Success" })
  await peer.until(() => JSON.stringify(peer.items("list")).includes("reg-over-a-socket"))
  peer.close()
})
