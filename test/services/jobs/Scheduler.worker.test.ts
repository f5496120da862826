import { expect } from "vitest"
import { cloudflare } from "../../deployment/cloudflare.ts"
import { deployed } from "../../worker/schedules.ts"
import { suite } from "./jobCases.ts"

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
