import { cloudflare } from "../../deployment/cloudflare.ts"
import { suite } from "./topicCases.ts"

suite("in workerd", async () => cloudflare())
