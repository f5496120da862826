import { cloudflare } from "../deployment/cloudflare.ts"
import { suite } from "./badInputCases.ts"

suite("Bad input and workerd", async () => cloudflare(), { runs: 100, refusedTenant: "nobody" })
