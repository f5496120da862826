import { env } from "cloudflare:test"
import { cloudflare, object, objects } from "../deployment/cloudflare.ts"
import { suite } from "./mutationLogCases.ts"

suite("Numbered mutations in workerd", async () => ({
  deployment: cloudflare(),
  limited: objects(env.LIMITED),
  callAs: async (session, body) => (await object(env.LIMITED, session.tenant).call(session, body)).body
}))
