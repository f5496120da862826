import { Database } from "effect-dormouse/storage"
import { suite } from "./keyValueCases.ts"
import { withLayer } from "./persistedQueueCases.ts"

suite("in memory", (effect) => withLayer(Database.layerMemory())(effect))
