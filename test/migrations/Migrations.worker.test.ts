import { env, runInDurableObject } from "cloudflare:test"
import * as CloudflareDatabase from "../../src/layers/cloudflare/Database.ts"
import { suite } from "./migrationCases.ts"

suite("Migrations in a Durable Object", (body) =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
    body(CloudflareDatabase.make(storage))
  ))
