/// <reference types="node" />
/**
 * This package as it is published, packed once for all files of a run. `vitest.config.ts` names the folder, and deletes it.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath, URL } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** The tarball. The first file that asks makes it, and the others wait. */
export const packed = async (): Promise<string> => {
  const folder = process.env["DORMOUSE_PACKED"]!
  const done = join(folder, "done")
  try {
    mkdirSync(folder)
  } catch {
    while (!existsSync(done)) await setTimeout(200)
    return outcomeOf(done)
  }
  const { status, stderr, stdout } = spawnSync("npm", ["pack", "--silent", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8"
  })
  const outcome = status === 0 ? join(folder, stdout.trim().split("\n").at(-1)!) : `npm pack failed: ${stdout}${stderr}`
  writeFileSync(done, outcome)
  return outcomeOf(done)
}

const outcomeOf = (done: string): string => {
  const outcome = readFileSync(done, "utf8")
  if (existsSync(outcome)) return outcome
  throw new Error(outcome)
}
