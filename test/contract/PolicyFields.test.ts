import { DatabaseSync } from "node:sqlite"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { suite } from "./policyFieldCases.ts"

suite("Policies of fields in memory", (body) => {
  using sqlite = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
  body(MemoryDatabase.make(sqlite))
})
