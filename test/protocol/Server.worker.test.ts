import { cloudflare } from "../deployment/cloudflare.ts"
import { suite } from "./fixtureCases.ts"

suite("The protocol's fixtures and workerd", async () => cloudflare())
