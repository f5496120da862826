import { expect } from "vitest"
import { cloudflare } from "../../deployment/cloudflare.ts"
import { deployed } from "../../worker/flows.ts"
import { suite } from "./workflowCases.ts"

suite("in workerd", async () => {
  const deployment = cloudflare()
  return {
    ...deployment,
    pass: async (millis) => {
      const end = Date.now() + millis
      await expect.poll(() => Date.now(), { interval: 20 }).toBeGreaterThanOrEqual(end)
    },
    deploy: async (tenant, version) => {
      if (version === "second") deployed.add(tenant)
      else deployed.delete(tenant)
      await deployment.evict(tenant)
      return deployment
    }
  }
})
