/// <reference types="@cloudflare/vitest-plugin/types" />
import { env, runInDurableObject } from "cloudflare:test"
import { cloudflare } from "../deployment/cloudflare.ts"
import { suite } from "./unwrittenCases.ts"

suite("Unwritten tenants in workerd", async () => {
  const inStorage = <A>(tenant: string, read: (storage: DurableObjectStorage) => A) =>
    runInDurableObject(env.TENANT_OBJECT.getByName(tenant), (_, { storage }) => read(storage))
  return {
    deployment: cloudflare(),
    tables: (tenant) =>
      inStorage(tenant, ({ sql }) =>
        sql
          .exec("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")
          .toArray()
          .map(({ name }) => String(name))
      ),
    create: async (tenant, table) => {
      await inStorage(tenant, ({ sql }) => sql.exec(`CREATE TABLE ${table} (name)`))
    },
    bytes: (tenant) => inStorage(tenant, ({ sql }) => sql.databaseSize)
  }
})
