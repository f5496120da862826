/// <reference types="node" />
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath, URL } from "node:url"

const folder = fileURLToPath(new URL(".", import.meta.url))

/** The paths of the modules of tests below a folder. Other tests write, and delete, what is in hidden folders. */
const pathsIn = (below: string): ReadonlyArray<string> =>
  readdirSync(folder + below, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith(".")) return []
    if (entry.isDirectory()) return pathsIn(`${below}${entry.name}/`)
    return /\.tsx?$/.test(entry.name) ? [below + entry.name] : []
  })

/** The modules of tests, with their text. */
export const sources = (): ReadonlyArray<{ readonly path: string; readonly text: string }> =>
  pathsIn("").map((path) => ({ path, text: readFileSync(folder + path, "utf8") }))
