import { env, runInDurableObject } from "cloudflare:test"
import * as CloudflareDatabase from "../../src/layers/cloudflare/Database.ts"
import { suite } from "./policyFieldCases.ts"

suite("Policies of fields in a Durable Object", (body) =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
    body(CloudflareDatabase.make(storage))
  ))
