/// <reference types="node" />
/** A folder with the package as it is published, and with the other packages of this repository. */
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { packed } from "../packed.ts"
import { root } from "./command.ts"

/** Puts the packages into a folder: the folder and those in it find them. Returns the command of the package. */
export const install = async (home: string): Promise<string> => {
  const own = join(home, "node_modules/effect-dormouse")
  mkdirSync(own, { recursive: true })
  execFileSync("tar", ["xzf", await packed(), "--strip-components=1", "-C", own])
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (!name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(home, "node_modules", name))
  }
  return join(own, "dist/cli.js")
}

/** Ends what was started as the leader of a group, if it has not ended by itself. */
export const killGroups = (groups: Iterable<number>): void => {
  for (const group of groups) {
    try {
      process.kill(-group, "SIGKILL")
    } catch {
      // It has ended, as it should.
    }
  }
}
