/// <reference types="node" />
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Server from "../examples/chat/server.ts"

/**
 * The code in the pages runs. A block of TypeScript begins with one of three comments:
 *
 *     // example: <name>     a module, type-checked and run in Node; blocks of one name on a page are one module
 *     // file: <path>        lines of a file of this repository, verbatim; a line "// …" leaves lines out
 *     // write: <path>       a file of the app that docs/your-first-app.md makes: see test/cli/FirstApp.test.ts
 *
 * Relative imports are relative to the page. An example that calls http://localhost:8787 reaches examples/minimal.
 */

const root = fileURLToPath(new URL("..", import.meta.url))
/** Inside the project, so that `effect-dormouse` resolves to the code under test. */
const scratch = join(root, "test/.examples")
const minimalUrl = "http://localhost:8787"

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`)
]

interface Block {
  readonly page: string
  readonly line: number
  readonly kind: "example" | "file" | "write" | "unmarked"
  readonly name: string
  readonly code: string
}

const blocksOf = (page: string, text: string): ReadonlyArray<Block> =>
  [...text.matchAll(/^```tsx?\n([\s\S]*?)^```$/gm)].map((match) => {
    const [first = "", ...rest] = match[1]!.split("\n")
    const [, kind, name] = /^\/\/ (example|file|write): (.+)$/.exec(first) ?? []
    return {
      page,
      line: text.slice(0, match.index).split("\n").length,
      kind: (kind as "example" | "file" | "write" | undefined) ?? "unmarked",
      name: name ?? "",
      code: rest.join("\n").trim()
    }
  })

interface Example {
  readonly page: string
  readonly name: string
  readonly file: string
  readonly code: string
}

const examplesOf = (blocks: ReadonlyArray<Block>): ReadonlyArray<Example> => {
  const examples = new Map<string, Example>()
  for (const { code, kind, name, page } of blocks) {
    if (kind !== "example") continue
    const slug = `${page} ${name}`.replace(/\W+/g, "-")
    const before = examples.get(slug)
    examples.set(slug, {
      page,
      name,
      file: join(scratch, `${slug}.ts`),
      code: before === undefined ? code : `${before.code}\n${code}`
    })
  }
  return [...examples.values()]
}

/** The first part of an excerpt that the file does not contain after the previous part. */
const missingFrom = (file: string, excerpt: string): string | undefined => {
  let from = 0
  for (const part of excerpt.split(/^\s*\/\/ …\n/m)) {
    const found = file.indexOf(part, from)
    if (found < 0) return part
    from = found + part.length
  }
  return undefined
}

/** The module of an example, with imports resolved from its page and with the address of the running server. */
const moduleOf = ({ code, page }: Example, url: string): string => {
  const fromPage = (path: string) => relative(scratch, join(root, dirname(page), path))
  return `/// <reference types="node" />\n${code}\n\nexport {}\n`
    .replace(/(from|import) "(\.[^"]*)"/g, (_, word, path) => `${word} "${fromPage(path)}"`)
    .replaceAll(minimalUrl, url)
}

const blocks = pages
  .filter((page) => existsSync(join(root, page)))
  .flatMap((page) => blocksOf(page, readFileSync(join(root, page), "utf8")))
const examples = examplesOf(blocks)

describe("the code in the pages", () => {
  const scope = Scope.makeUnsafe()
  const data = mkdtempSync(join(tmpdir(), "dormouse-docs-"))

  beforeAll(async () => {
    rmSync(scratch, { recursive: true, force: true })
    mkdirSync(scratch, { recursive: true })
    const url = examples.some(({ code }) => code.includes(minimalUrl))
      ? await Effect.runPromise(
          Server.make({ port: 0, data, worker: join(root, "examples/minimal/worker.ts") }).pipe(Scope.provide(scope))
        )
      : minimalUrl
    for (const example of examples) writeFileSync(example.file, moduleOf(example, url))
    // The compiler ignores folders whose names begin with a dot.
    const files = examples.map(({ file }) => file)
    writeFileSync(
      join(scratch, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", include: [], files })
    )
  })

  afterAll(async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    rmSync(data, { recursive: true, force: true })
    rmSync(scratch, { recursive: true, force: true })
  })

  it("declares what it is", () => {
    const unmarked = blocks.filter(({ kind }) => kind === "unmarked")
    expect(
      unmarked.map(({ line, page }) => `${page}:${line} begins with none of "// example:", "// file:", "// write:"`)
    ).toEqual([])
  })

  for (const { code, line, name, page } of blocks.filter(({ kind }) => kind === "file")) {
    it(`${page}:${line} is in ${name}`, () => {
      expect(missingFrom(readFileSync(join(root, name), "utf8"), code)).toBeUndefined()
    })
  }

  it("type-checks", () => {
    const compiler = join(root, "node_modules/typescript/bin/tsc")
    const args = [compiler, "-p", ".", "--pretty", "false", "--singleThreaded"]
    const { stdout } = spawnSync(process.execPath, args, { cwd: scratch, encoding: "utf8" })
    // Problems in other files, whose paths lead out of the folder, are reported by `npm run check`.
    const problems = stdout.split(/\n(?! )/).filter((problem) => problem !== "" && !problem.startsWith(".."))
    expect(problems).toEqual([])
  })

  for (const { file, name, page } of examples) {
    it(`${page}: ${name}`, async () => {
      await import(file)
    })
  }
})

describe("the pages", () => {
  it.each(pages.filter((page) => existsSync(join(root, page))))("%s links to files that exist", (page) => {
    const links = [...readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
    const missing = links.map((link) => link[1]!).filter((link) => !existsSync(join(root, dirname(page), link)))
    expect(missing).toEqual([])
  })

  it("docs/README.md links to every page of docs", () => {
    const index = readFileSync(join(root, "docs/README.md"), "utf8")
    const names = pages.filter((page) => page.startsWith("docs/")).map((page) => page.replace("docs/", ""))
    expect(names.filter((name) => name !== "README.md" && !index.includes(`](${name})`))).toEqual([])
  })

  it("README.md names scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const readme = readFileSync(join(root, "README.md"), "utf8")
    const named = [...readme.matchAll(/npm (?:run )?(start|test|demo|check|build|bench)\b/g)].map((match) => match[1]!)
    expect(named.filter((script) => !(script in scripts))).toEqual([])
    expect(named).toEqual(expect.arrayContaining(["start", "test"]))
  })
})

describe("extracting", () => {
  const text = [
    "# Page",
    "```ts\n// example: one\nconst a = 1\n```",
    "prose",
    "```ts\n// example: one\nimport { b } from './b.ts'\n```",
    "```ts\n// file: src/index.ts\nexport {}\n```",
    "```sh\nnpm start\n```",
    "```ts\nconst unmarked = 1\n```"
  ].join("\n\n")

  it("finds the blocks and their kinds", () => {
    expect(blocksOf("docs/page.md", text).map(({ kind, line, name }) => [kind, name, line])).toEqual([
      ["example", "one", 3],
      ["example", "one", 10],
      ["file", "src/index.ts", 15],
      ["unmarked", "", 24]
    ])
  })

  it("detects an excerpt that is not in the file", () => {
    const file = "one\n  two\nthree\nfour\n"
    expect(missingFrom(file, "one\n  two")).toBeUndefined()
    expect(missingFrom(file, "one\n// …\nthree")).toBeUndefined()
    expect(missingFrom(file, "one\n  // …\nfour")).toBeUndefined()
    expect(missingFrom(file, "three\n// …\none")).toBe("one")
    expect(missingFrom(file, "one\ntwo")).toBe("one\ntwo")
  })

  it("joins the blocks of one name into one module, with imports relative to the page", () => {
    const text =
      '```ts\n// example: one\nimport { a } from "./a.ts"\n```\n\n```ts\n// example: one\nimport "../b.ts"\n```'
    const [example, ...others] = examplesOf(blocksOf("docs/page.md", text))
    expect(others).toEqual([])
    expect(moduleOf(example!, minimalUrl)).toContain('import { a } from "../../docs/a.ts"\nimport "../../b.ts"')
  })
})
