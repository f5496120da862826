import { memory } from "../deployment/memory.ts"
import { app } from "../worker/notes.ts"
import { suite } from "./unwrittenCases.ts"

suite("Unwritten tenants in memory", async () => {
  const deployment = await memory(app)
  const { object } = deployment
  const number = (tenant: string, sql: string) => Number(Object.values(object(tenant).database.prepare(sql).get()!)[0])
  return {
    deployment,
    tables: async (tenant) =>
      object(tenant)
        .database.prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        .all()
        .map(({ name }) => String(name)),
    create: async (tenant, table) => object(tenant).database.exec(`CREATE TABLE ${table} (name)`),
    bytes: async (tenant) =>
      number(tenant, "SELECT page_count FROM pragma_page_count") *
      number(tenant, "SELECT page_size FROM pragma_page_size"),
    close: deployment.close
  }
})
