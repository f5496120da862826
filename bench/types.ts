/// <reference types="node" />

/**
 * How long the compiler takes for an app with 200 rpcs: their contract, their handlers and a typed call of each, with the
 * sources of this package. Medians over `runs`.
 *
 *     node --conditions=source bench/types.ts [runs]
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath, URL } from "node:url"
import { largeContract } from "../test/types/largeContract.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const runs = Number(process.argv[2] ?? 5)
// Inside of the repository, so that imports resolve.
const folder = join(root, "test/types/.compiled/measured")
const compiler = join(root, "node_modules/typescript/bin/tsc")

const measure = (size: number) => {
  mkdirSync(folder, { recursive: true })
  const compilerOptions = { lib: ["ES2024", "DOM", "DOM.Iterable"] }
  const config = { extends: "../../../../tsconfig.json", compilerOptions, include: ["."] }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  writeFileSync(join(folder, "contract.ts"), largeContract(size))
  const times = Array.from({ length: runs }, () => {
    const begun = performance.now()
    const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", "."], { cwd: folder, encoding: "utf8" })
    if (status !== 0) throw new Error(stdout)
    return performance.now() - begun
  }).sort((one, other) => one - other)
  return `${(times[times.length >> 1]! / 1000).toFixed(2)} s (${times.map((time) => (time / 1000).toFixed(1)).join(", ")})`
}

try {
  for (const size of [1, 200]) console.log(`${size} rpcs: ${measure(size)}`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
