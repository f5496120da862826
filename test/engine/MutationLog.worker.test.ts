import { env } from "cloudflare:test"
import { cloudflare, objects } from "../deployment/cloudflare.ts"
import { suite } from "./mutationLogCases.ts"

suite("Numbered mutations in workerd", async () => ({ deployment: cloudflare(), limited: objects(env.LIMITED) }))
