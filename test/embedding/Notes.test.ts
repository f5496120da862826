/// <reference types="node" />
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const program = fileURLToPath(new URL("../../examples/embed/notes.ts", import.meta.url))

const run = async (path: string) => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=source", program, path])
  return stdout.trim().split("\n")
}

it("examples/embed/notes.ts keeps its rows in a file, and shows each change", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-embed-"))
  try {
    const path = join(folder, "notes.sqlite")
    expect(await run(path)).toEqual([`0 notes in ${path}`, "[]", "[ 'sleep until April' ]"])
    expect(await run(path)).toEqual([
      `1 notes in ${path}`,
      "[ 'sleep until April' ]",
      "[ 'sleep until April', 'sleep until April' ]"
    ])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
