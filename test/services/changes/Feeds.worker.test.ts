import { cloudflare } from "../../deployment/cloudflare.ts"
import { suite } from "./feedCases.ts"

suite("in workerd", async () => cloudflare())
