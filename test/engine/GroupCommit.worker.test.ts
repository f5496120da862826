import { env } from "cloudflare:test"
import { cloudflare, objects } from "../deployment/cloudflare.ts"
import { suite } from "./groupCommitCases.ts"

suite("Group commit in workerd", async () => ({
  app: cloudflare(),
  limited: objects(env.LIMITED),
  canFlood: false
}))
