import { env } from "cloudflare:test"
import { cloudflare, objects } from "../place/cloudflare.ts"
import { suite } from "./transactionCases.ts"

suite("Transactions in workerd", async () => ({ place: cloudflare(), limited: objects(env.LIMITED) }))
