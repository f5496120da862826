import * as Layer from "effect/Layer"
import { cloudflare } from "../deployment/cloudflare.ts"
import { Here, suite } from "./stockClientCases.ts"

suite("The stock client and workerd", Layer.sync(Here, cloudflare))
