import { DatabaseSync } from "node:sqlite"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { cases } from "./scanCases.ts"

cases("Scan in memory", (body) => {
  using sqlite = new DatabaseSync(":memory:")
  body(MemoryDatabase.make(sqlite))
})
