import { env, runInDurableObject } from "cloudflare:test"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { cloudflare } from "../deployment/cloudflare.ts"
import { suite } from "./adminCases.ts"

const stub = (object: string) => env.TENANT_OBJECT.getByName(object)

suite(
  "An app in workerd that is operated by a key",
  async () => ({
    ...cloudflare(),
    stub: (object) => stub(object) as unknown as ObjectStub,
    damage: async (object, statement) => {
      await runInDurableObject(stub(object), (_, ctx) => void ctx.storage.sql.exec(statement))
    },
    tables: (object) =>
      runInDurableObject(stub(object), (_, ctx) =>
        [
          ...ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_cf_%'").raw()
        ].map(([name]) => String(name))
      )
  }),
  { histories: 2, rows: 700 }
)
