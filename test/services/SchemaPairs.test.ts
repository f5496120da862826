/// <reference types="node" />
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { expect } from "vitest"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import * as TableSchema from "../../src/services/storage/TableSchema.ts"
import { contents, suite } from "./schemaPairs.ts"

suite("Schemas in memory", (body) => {
  using sqlite = new DatabaseSync(":memory:")
  body(MemoryDatabase.make(sqlite), {})
}, 24)

const open = (path: string) => {
  const sqlite = new DatabaseSync(path)
  // What is on disk does not matter here: a killed process loses nothing that the operating system has.
  sqlite.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
  return sqlite
}

const bytesOf = (path: string) => (existsSync(path) ? readFileSync(path, "base64") : "")

suite("Schemas in a file", (body) => {
  const directory = mkdtempSync(join(tmpdir(), "dormouse-schemas-"))
  try {
    const path = join(directory, "rows")
    using sqlite = open(path)
    let kills = 0
    body(MemoryDatabase.make(sqlite), {
      beforeStart: () => {
        sqlite.exec("PRAGMA wal_checkpoint(TRUNCATE)")
        const before = [bytesOf(path), bytesOf(`${path}-wal`)]
        return () => expect([bytesOf(path), bytesOf(`${path}-wal`)]).toEqual(before)
      },
      // The files as a killed process leaves them, in the middle of its transaction.
      duringCrash: () => {
        const copy = join(directory, `killed-${kills++}`)
        copyFileSync(path, copy)
        if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${copy}-wal`)
        return (tables, started, after) => {
          using killed = open(copy)
          const database = MemoryDatabase.make(killed)
          const migrate = () => TableSchema.migrate(database, tables)
          if (started) migrate()
          else expect(migrate).toThrow(TableSchema.SchemaMismatch)
          expect(contents(database)).toBe(after)
        }
      }
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}, 6)
