import { env } from "cloudflare:test"
import { objects } from "../deployment/cloudflare.ts"
import { suite } from "./transactionalCases.ts"

suite("A transactional service in workerd", async () => ({ deployment: objects(env.LEDGER) }))
