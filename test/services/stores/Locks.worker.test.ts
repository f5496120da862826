import { env, runInDurableObject } from "cloudflare:test"
import { Database } from "effect-dormouse/storage"
import { suite } from "./lockCases.ts"
import { withLayer } from "./persistedQueueCases.ts"

suite("in a Durable Object", (effect) =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
    withLayer(Database.layerCloudflare(storage))(effect)
  ))
