/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { build } from "esbuild"
import { expect, it } from "vitest"

const resolveDir = fileURLToPath(new URL("../../..", import.meta.url))

/** The files of workflows, ours and Effect's, of which a bundle has code. */
const workflowsIn = async (contents: string): Promise<ReadonlyArray<string>> => {
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
      .filter(([path, { bytesInOutput }]) => bytesInOutput > 0 && /workflow|executions/i.test(path))
      .map(([path]) => path)
  )
}

it.each([
  ["an app", 'export { default } from "./examples/minimal/worker.ts"'],
  ["jobs", 'import { Jobs } from "effect-dormouse/jobs"; export const jobs = Jobs.make()']
])("%s without workflows bundles none of their code", async (_, contents) => {
  expect(await workflowsIn(contents)).toEqual([])
})

it("control: workflows that are used are found", async () => {
  const contents = 'import { Workflows } from "effect-dormouse/workflows"; export const make = Workflows.make'
  expect(await workflowsIn(contents)).toContain("src/services/workflows/WorkflowRun.ts")
})
