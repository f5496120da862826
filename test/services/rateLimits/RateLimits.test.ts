import { Database } from "effect-dormouse/storage"
import { suite, withLayer } from "./rateLimitCases.ts"

suite("in memory", (effect) => withLayer(Database.layerMemory())(effect))
