import { cloudflare } from "../deployment/cloudflare.ts"
import { suite } from "./systemCases.ts"

suite("The deployment's own object in workerd", async () => cloudflare())
