import { env } from "cloudflare:test"
import { cloudflare } from "../../deployment/cloudflare.ts"
import { suite } from "./fileCases.ts"

suite("in workerd, with R2", async () => ({
  ...cloudflare(),
  keys: async (prefix) => (await env.FILES.list({ prefix })).objects.map(({ key }) => key)
}))
