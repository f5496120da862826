import { DatabaseSync } from "node:sqlite"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { properties } from "./storageProperties.ts"

properties(
  "Storage in memory",
  (body) => {
    using sqlite = new DatabaseSync(":memory:")
    body(MemoryDatabase.make(sqlite))
  },
  0.4
)
