import { env, runInDurableObject } from "cloudflare:test"
import { expect, it } from "vitest"
import { cloudflare, object } from "../../deployment/cloudflare.ts"
import { newTenant } from "../../deployment/Deployment.ts"
import { deployed } from "../../worker/schedules.ts"
import { clientOf, suite } from "./jobCases.ts"

suite("in workerd", async () => {
  const deployment = cloudflare()
  return {
    ...deployment,
    now: async () => Date.now(),
    pass: async (millis) => {
      const end = Date.now() + millis
      await expect.poll(() => Date.now(), { interval: 20 }).toBeGreaterThanOrEqual(end)
    },
    deploy: async (tenant) => {
      deployed.add(tenant)
      await deployment.evict(tenant)
      return deployment
    }
  }
})

it("J16: a mutation that others overtake after it was counted has not been lost", async () => {
  const deployment = cloudflare()
  const tenant = newTenant("jobs-overtaken")
  const { jobs, plan, texts } = clientOf(deployment, tenant)
  const hour = 3_600_000
  const chained = (text: string) => ({ what: "add", text, key: "chain" }) as const
  await plan(hour + 2000, chained("1"))
  for (const text of ["2", "3", "4", "5", "6"]) await plan(hour + 1000, chained(text))
  await plan(hour + 3000, { what: "add", text: "alone" })
  // As if the object had been lost, and its alarm had come an hour and a minute later.
  const { evict, stub } = object(env.TENANT_OBJECT, tenant)
  await runInDurableObject(stub(), (_, { storage }) => {
    const earlier = hour + 60_000
    storage.sql.exec("UPDATE _dormouse_outbox SET due = due - ?1, wake = wake - ?1", earlier)
  })
  await evict()
  await expect.poll(async () => (await texts()).toSorted()).toEqual(["1", "2", "3", "4", "5", "6", "alone"])
  expect(await jobs("failed")).toEqual([])
})
