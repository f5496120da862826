import * as Layer from "effect/Layer"
import { cloudflare } from "../deployment/cloudflare.ts"
import { evicting } from "../deployment/evicting.ts"
import { evictions, Here, suite } from "./stockClientCases.ts"

const evicted = Layer.sync(Here, () => evicting(cloudflare()))

suite("The stock client and workerd, with an eviction between every two messages", evicted)
suite("The stock client and workerd", Layer.sync(Here, cloudflare))
evictions("Evictions between every two messages in workerd", evicted, 9)
