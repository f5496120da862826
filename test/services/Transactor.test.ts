/// <reference types="node" />
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Database } from "effect-dormouse/storage"
import { suite, withLayer } from "./transactorCases.ts"

suite("Transactor in memory", (effect) => withLayer(Database.layerMemory())(effect))

suite("Transactor over a file", async (effect) => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-transactor-"))
  try {
    await withLayer(Database.layerMemory({ path: join(folder, "rows.sqlite") }))(effect)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
