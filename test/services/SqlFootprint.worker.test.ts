import { env, runInDurableObject } from "cloudflare:test"
import { suite } from "./sqlFootprintCases.ts"

suite("SqlFootprint in a Durable Object", (body) =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), (_, { storage }) =>
    body({
      query: (sql, params) => storage.sql.exec(sql, ...params).toArray(),
      transaction: (run) => storage.transactionSync(run)
    })
  ))
