/// <reference types="node" />
import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const program = fileURLToPath(new URL("../../examples/embed/files.ts", import.meta.url))

it("examples/embed/files.ts stores a file in a directory, serves it, and deletes it with its row", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-embed-"))
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=source", program, folder])
    const lines = stdout.trim().split("\n")
    expect(lines).toContain(`100 % is in ${folder}`)
    expect(lines.at(-2)).toMatch(/^20000000 bytes are read from \/files\/main\/[\w-]{22}\/dormouse\.png$/)
    const blobs = join(folder, "blobs")
    expect(existsSync(blobs)).toBe(true)
    const left = readdirSync(blobs, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    expect(left).toEqual([])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
