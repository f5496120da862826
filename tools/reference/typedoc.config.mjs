/**
 * What typedoc documents: the entries of package.json, and of them only what is public.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8"))

export default {
  name: "Reference",
  entryPoints: Object.values(exports).flatMap(({ source }) => (source === undefined ? [] : [`${root}${source}`])),
  tsconfig: "tsconfig.json",
  plugin: ["typedoc-plugin-markdown", "./plugin.mjs"],
  outputs: [{ name: "markdown", path: "../../docs/reference" }],
  router: "entries",
  theme: "declarations",
  readme: "none",
  sort: ["source-order"],
  disableSources: true,
  disableGit: true,
  excludeExternals: true,
  excludePrivate: true,
  excludeInternal: true,
  // Parts of types that have no entry are shown where they are used.
  validation: { invalidLink: true, notExported: false },
  treatWarningsAsErrors: true
}
