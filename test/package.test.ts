/// <reference types="node" />
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Esbuild from "esbuild"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

/** The package as published, in a project that depends only on it and on `effect`. */

const root = fileURLToPath(new URL("..", import.meta.url))
const project = mkdtempSync(join(tmpdir(), "dormouse-package-"))
const { dependencies, engines, exports, peerDependencies } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)
const entries = Object.keys(exports)
  .filter((entry) => entry !== "./package.json")
  .map((entry) => `effect-dormouse${entry.slice(1)}`)

const write = (file: string, text: string) => {
  mkdirSync(dirname(join(project, file)), { recursive: true })
  writeFileSync(join(project, file), text)
}

beforeAll(() => {
  const arguments_ = ["pack", "--silent", "--pack-destination", project]
  const packed = spawnSync("npm", arguments_, { cwd: root, encoding: "utf8" })
  expect(packed.status, packed.stdout + packed.stderr).toBe(0)
  const tarball = packed.stdout.trim().split("\n").at(-1)!
  const home = join(project, "node_modules/effect-dormouse")
  mkdirSync(home, { recursive: true })
  execFileSync("tar", ["xzf", join(project, tarball), "--strip-components=1", "-C", home])
  const types = ["@types/node", "@cloudflare/workers-types", "undici-types"]
  for (const name of [...Object.keys({ ...dependencies, ...peerDependencies }), ...types]) {
    mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name))
  }
  write("package.json", JSON.stringify({ type: "module" }))
  for (const file of ["schema", "api", "handlers", "app", "worker"]) {
    cpSync(join(root, `examples/chat/${file}.ts`), join(project, `chat/${file}.ts`))
  }
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe("the published package", () => {
  it("asks for the version of Node that the README names", () => {
    const [, version] = /It needs Node (\d+) or newer/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? []
    expect(engines.node).toBe(`>=${version}`)
  })

  it.each(entries.filter((entry) => !entry.endsWith("/cloudflare")))("%s is imported by Node", (entry) => {
    write("import.js", `import * as entry from "${entry}"\nconsole.log(Object.keys(entry).length)`)
    const { stderr, stdout } = spawnSync(process.execPath, ["import.js"], { cwd: project, encoding: "utf8" })
    expect(stderr).toBe("")
    expect(Number(stdout)).toBeGreaterThan(0)
  })

  it.each(["NodeNext", "Bundler"])("the chat type-checks against it by the rules of %s", (moduleResolution) => {
    write(
      "tsconfig.json",
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          target: "ES2024",
          lib: ["ES2024"],
          module: moduleResolution === "NodeNext" ? "NodeNext" : "ESNext",
          moduleResolution,
          allowImportingTsExtensions: true,
          skipLibCheck: true,
          types: ["node", "@cloudflare/workers-types"]
        },
        include: ["chat"]
      })
    )
    const compiler = join(root, "node_modules/typescript/bin/tsc")
    const { stdout } = spawnSync(process.execPath, [compiler, "-p", project, "--pretty", "false"], { encoding: "utf8" })
    expect(stdout).toBe("")
  })

  const bundle = async (entry: string, options: Esbuild.BuildOptions) => {
    const { metafile } = await Esbuild.build({
      entryPoints: [join(project, entry)],
      bundle: true,
      write: false,
      format: "esm",
      logLevel: "silent",
      metafile: true,
      ...options
    })
    return Object.values(metafile!.outputs).flatMap(({ imports }) => imports.map(({ path }) => path))
  }

  it("the Worker is bundled for workerd", async () => {
    const conditions = ["workerd", "worker", "browser"]
    expect(await bundle("chat/worker.ts", { conditions, external: ["cloudflare:*"] })).toContain("cloudflare:workers")
  })

  it("everything except the platforms is bundled for browsers", async () => {
    const portable = entries.filter((entry) => !/\/(cloudflare|testing)$/.test(entry))
    const imports = portable.map((entry, index) => `export * as entry${index} from "${entry}"\n`)
    write("browser.ts", `${imports.join("")}export * from "./chat/api.ts"\n`)
    expect(await bundle("browser.ts", { platform: "browser" })).toEqual([])
  })
})
