import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { memory } from "../deployment/memory.ts"
import { app } from "../worker/notes.ts"
import { options } from "../worker/tenants.ts"
import { suite } from "./tenantsCases.ts"

suite(
  "A registry of tenants in memory",
  async () => {
    const deployment = await memory(app, options)
    return {
      ...deployment,
      stub: (object) => deployment.object(object).stub as Required<ObjectStub>,
      tables: async (object) =>
        deployment
          .object(object)
          .database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
          .all()
          .map(({ name }) => String(name))
    }
  },
  { histories: 12 }
)
