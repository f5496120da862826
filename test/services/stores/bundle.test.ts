/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { build } from "esbuild"
import { expect, it } from "vitest"

const resolveDir = fileURLToPath(new URL("../../..", import.meta.url))

/** The files of the stores, ours and Effect's, of which a bundle has code. */
const storesIn = async (contents: string): Promise<ReadonlyArray<string>> => {
  const { metafile } = await build({
    stdin: { contents, resolveDir, loader: "ts" },
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    conditions: ["source", "workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    logLevel: "silent"
  })
  return Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .flatMap(
        ([path]) => path.match(/services\/(?:KeyValues|Locks|PersistedQueues)\.ts|persistence\/(?!index)\w+/i) ?? []
      )
  )
}

it.each([
  ["an app", 'export { default } from "./examples/minimal/worker.ts"'],
  ["storage alone", 'export { Database, Storage, Table } from "effect-dormouse/storage"']
])("%s that uses no store bundles none", async (_, contents) => {
  expect(await storesIn(contents)).toEqual([])
})

it("control: a store that is used is found", async () => {
  const contents = 'import { Locks } from "effect-dormouse/storage"; export const layer = Locks.layer'
  expect(await storesIn(contents)).toEqual(["services/Locks.ts"])
})
