import { Database } from "effect-dormouse/storage"
import { suite } from "./lockCases.ts"
import { withLayer } from "./persistedQueueCases.ts"

suite("in memory", (effect) => withLayer(Database.layerMemory())(effect))
