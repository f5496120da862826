import { Database } from "effect-dormouse/storage"
import { suite, withLayer } from "./persistedQueueCases.ts"

suite("in memory", (effect) => withLayer(Database.layerMemory())(effect))
