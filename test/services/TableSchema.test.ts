import { DatabaseSync } from "node:sqlite"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { suite } from "./tableSchemaCases.ts"

suite("TableSchema in memory", (body) => {
  using sqlite = new DatabaseSync(":memory:")
  body(MemoryDatabase.make(sqlite))
})
