import { cloudflare } from "../../deployment/cloudflare.ts"
import { suite } from "./sessionCases.ts"

suite("in workerd", async () => cloudflare())
