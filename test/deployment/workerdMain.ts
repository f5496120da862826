/// <reference types="node" />
import { readFileSync } from "node:fs"
import { Miniflare } from "miniflare"

/**
 * A Worker in a process that the test kills: `node workerdMain.ts <port> <data> <bundle> <variables> <queues> <buckets>`.
 * Prints a line when it listens. The last three are JSON: texts by name, and the names of queues and of buckets of R2 by that of
 * their binding.
 */
const [port, data, bundle, variables = "{}", queues = "{}", buckets = "{}"] = process.argv.slice(2)
const names = Object.entries<string>(JSON.parse(queues))
const server = new Miniflare({
  port: Number(port),
  resourcePersistencePath: data!,
  cf: false,
  workers: [
    {
      config: {
        type: "worker",
        name: "app",
        compatibilityDate: "2026-09-01",
        manifest: {
          mainModule: "worker.js",
          modules: { "worker.js": { type: "esm", contents: readFileSync(bundle!, "utf8") } }
        },
        env: {
          ...Object.fromEntries(
            Object.entries<string>(JSON.parse(variables)).map(([name, value]) => [
              name,
              { type: "text", value } as const
            ])
          ),
          ...Object.fromEntries(names.map(([binding, name]) => [binding, { type: "queue", name } as const])),
          ...Object.fromEntries(
            Object.entries<string>(JSON.parse(buckets)).map(([binding, name]) => [
              binding,
              { type: "r2", name } as const
            ])
          )
        },
        triggers: names.map(([, name]) => ({ type: "queue", name, maxBatchTimeout: 0 }) as const),
        exports: { TenantObject: { type: "durable-object", storage: "sqlite" } }
      }
    }
  ]
})
const { origin } = await server.ready
console.log(`listening at ${origin}`)
