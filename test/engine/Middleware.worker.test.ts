import { env } from "cloudflare:test"
import { cloudflare, objects } from "../deployment/cloudflare.ts"
import { suite } from "./middlewareCases.ts"

suite("The author's middleware in workerd", async () => ({ app: cloudflare(), reacting: objects(env.GUARDED) }))
