import { DatabaseSync } from "node:sqlite"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { suite } from "./randomMigrations.ts"

suite(
  "Migrations in memory",
  async (body) => {
    using sqlite = new DatabaseSync(":memory:")
    await body(MemoryDatabase.make(sqlite))
  },
  10,
  2
)
