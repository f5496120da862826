import * as Layer from "effect/Layer"
import { cloudflare } from "../deployment/cloudflare.ts"
import { evicting } from "../deployment/evicting.ts"
import { Here, suite } from "./stockClientCases.ts"

suite(
  "The stock client and workerd, with an eviction between every two messages",
  Layer.sync(Here, () => evicting(cloudflare()))
)
suite("The stock client and workerd", Layer.sync(Here, cloudflare))
