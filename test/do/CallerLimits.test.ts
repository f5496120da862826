import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { call, type Deployment, errorOf, newTenant, request } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { anHour } from "../engine/callerLimitCases.ts"

/** A deployment with limits from its environment. */
const start = async (variables: Record<string, string>) => {
  const server = await WorkerdProcess.start(new URL("../worker/process/doors.ts", import.meta.url).pathname, variables)
  return { server, deployment: server.deployment }
}

describe("A23: a deployment", () => {
  let running: { readonly server: WorkerdProcess; readonly deployment: Deployment }
  beforeAll(async () => {
    running = await start({ DORMOUSE_CALLS_PER_ADDRESS: "3", DORMOUSE_CALLS_PER_ADDRESS_WINDOW: "1 hour" })
  })
  afterAll(() => running.server.close())

  const visitFrom = (tenant: string, address: string) =>
    running.deployment.fetch("/rpc", {
      method: "POST",
      body: JSON.stringify(request("1", "visit", { by: "ada" })),
      headers: { "x-dormouse-tenant": tenant, "cf-connecting-ip": address }
    })

  it("A21, A23: refuses what its environment does not allow, by the address that the platform reports", async () => {
    const tenant = newTenant("limited")
    for (let i = 0; i < 3; i++) expect((await visitFrom(tenant, "192.0.2.1")).status).toBe(200)
    const refused = await visitFrom(tenant, "192.0.2.1")
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, anHour])
    const [message] = (await refused.json()) as ReadonlyArray<any>
    expect(errorOf(message.exit)).toMatchObject({ reason: { _tag: "TooManyRequests" } })
    expect((await visitFrom(tenant, "192.0.2.2")).status).toBe(200)
    expect((await call(running.deployment, tenant, "visits", {})).value).toBe(4)
  })

  it("A23: does not answer calls under a limit that cannot be read", async () => {
    const { deployment, server } = await start({ DORMOUSE_SOCKETS_PER_ADDRESS: "many" })
    const response = await deployment.fetch("/rpc", {
      method: "POST",
      body: JSON.stringify(request("1", "visits", {})),
      headers: { "x-dormouse-tenant": "main" }
    })
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain("SOCKETS")
    let log = ""
    await expect.poll(() => (log += server.deployment.logged())).toContain("DORMOUSE_SOCKETS_PER_ADDRESS")
    await server.close()
  })
})
