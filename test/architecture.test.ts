/// <reference types="node" />
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { describe, expect, it } from "vitest"

/** Which folder of `src` may import which, and what no folder may use. */

const root = fileURLToPath(new URL("..", import.meta.url))

/** The folders that each folder may import, besides itself. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  contract: ["protocol"],
  protocol: [],
  system: ["contract", "protocol"],
  admin: ["contract", "protocol", "system"],
  services: ["contract", "protocol", "system", "admin"],
  "layers/memory": ["contract", "protocol", "services"],
  "layers/cloudflare": ["contract", "protocol", "services"],
  "layers/s3": ["contract", "protocol", "services"],
  "engine/rpc": ["contract", "protocol", "services"],
  "engine/object": ["contract", "protocol", "services", "engine/rpc"],
  "engine/worker": ["contract", "protocol", "system", "admin", "services", "engine/rpc"],
  do: [
    "contract",
    "protocol",
    "system",
    "services",
    "engine/rpc",
    "engine/object",
    "engine/worker",
    "layers/cloudflare"
  ],
  testing: [
    "contract",
    "protocol",
    "system",
    "services",
    "engine/rpc",
    "engine/object",
    "engine/worker",
    "layers/memory",
    "client"
  ],
  // An app in a process of Node, which is that of the tests over files.
  local: ["contract", "protocol", "services", "engine/worker", "system", "testing"],
  client: ["contract", "protocol"],
  "cli/admin": ["contract", "protocol", "system", "admin"],
  "accounts/contract": ["contract", "protocol"],
  "accounts/client": ["contract", "protocol", "client", "accounts/contract"],
  accounts: ["contract", "protocol", "services", "accounts/contract"],
  // The command describes what an author declares, and how it is stored. It talks to a running app as a client does.
  cli: ["contract", "protocol", "services", "client", "cli/admin"],
  // Only what puts the layers of one port together.
  layers: ["services", "layers/memory", "layers/cloudflare"]
}

/** The folders that may import the modules of a platform. */
const platforms: Readonly<Record<string, ReadonlyArray<string>>> = {
  "cloudflare:": ["do", "layers/cloudflare"],
  "node:": ["layers/memory", "local", "testing", "cli"],
  "@effect/platform-node": ["cli"]
}

/** Time and random numbers come from services, so that a run can be repeated. */
const unrepeatable = /\bDate\.now\(|\bMath\.random\(|\bnew Date\(\)|\bperformance\.now\(/

interface Source {
  /** The path in `src`. */
  readonly path: string
  readonly text: string
}

const folderOf = (path: string): string | undefined =>
  Object.keys(allowed).find((folder) => path.startsWith(`${folder}/`))

/** The code without comments, which may contain imports in examples. */
const codeOf = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1")

/** The modules that a file imports: values, types, re-exports and `import()`. */
const importsOf = ({ text }: Source): ReadonlyArray<string> =>
  [...codeOf(text).matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!)

/** The path in `src` of a relative import. */
const resolve = (source: Source, specifier: string): string | undefined =>
  specifier.startsWith(".") ? normalize(join(dirname(source.path), specifier)) : undefined

/** The imports that a file's folder must not have. Files outside of the folders are entries and may import anything. */
const wrongImports = (source: Source): ReadonlyArray<string> => {
  const folder = folderOf(source.path)
  return importsOf(source).filter((specifier) => {
    if (specifier === "effect") return true
    for (const [prefix, folders] of Object.entries(platforms)) {
      if (specifier.startsWith(prefix)) return folder === undefined || !folders.includes(folder)
    }
    const target = resolve(source, specifier)
    if (target === undefined || folder === undefined) return false
    const targetFolder = folderOf(target)
    return targetFolder !== folder && (targetFolder === undefined || !allowed[folder]!.includes(targetFolder))
  })
}

const sources: ReadonlyArray<Source> = readdirSync(`${root}src`, { recursive: true, encoding: "utf8" })
  .filter((path) => /\.tsx?$/.test(path) && !path.endsWith(".d.ts"))
  .map((path) => ({ path, text: readFileSync(`${root}src/${path}`, "utf8") }))

/** All files that an entry imports, directly and indirectly. */
const closure = (entry: string): ReadonlyArray<Source> => {
  const found = new Map<string, Source>()
  const visit = (path: string) => {
    const source = sources.find((source) => source.path === path)
    if (source === undefined) throw new Error(`src/${path} does not exist`)
    if (found.has(path)) return
    found.set(path, source)
    for (const specifier of importsOf(source)) {
      const target = resolve(source, specifier)
      if (target !== undefined) visit(target)
    }
  }
  visit(entry)
  return [...found.values()]
}

const manifest: {
  readonly exports: Readonly<Record<string, string | { readonly source: string }>>
  readonly bin: Readonly<Record<string, string>>
} = JSON.parse(readFileSync(`${root}package.json`, "utf8"))
const entries = manifest.exports
const commands = manifest.bin

describe("imports point one way", () => {
  it("every file is in a folder with rules, or is an entry", () => {
    const files = [
      ...Object.values(entries).flatMap((entry) => (typeof entry === "string" ? [] : [entry.source])),
      ...Object.values(commands).map((file) => file.replace("./dist/", "./src/").replace(/js$/, "ts"))
    ]
    const unexpected = sources.filter(
      ({ path }) => folderOf(path) === undefined && !files.some((file) => file === `./src/${path}`)
    )
    expect(unexpected.map(({ path }) => path)).toEqual([])
  })

  it("every folder imports only what it is allowed to", () => {
    expect(sources.flatMap((source) => wrongImports(source).map((found) => `${source.path}: ${found}`))).toEqual([])
  })

  it.each([
    ["contract/X.ts", 'import { Transactor } from "../services/Transactor.ts"'],
    ["protocol/X.ts", 'import type { App } from "../contract/App.ts"'],
    ["services/X.ts", 'export * from "../engine/rpc/Ndjson.ts"'],
    ["services/storage/X.ts", 'export * from "../../engine/rpc/Ndjson.ts"'],
    ["engine/object/X.ts", 'import * as Memory from "../../layers/memory/Database.ts"'],
    ["engine/object/X.ts", 'import { Gateway } from "../worker/Gateway.ts"'],
    ["engine/worker/X.ts", 'import type { Executor } from "../object/Executor.ts"'],
    ["engine/rpc/X.ts", 'import type { Executor } from "../object/Executor.ts"'],
    ["engine/rpc/X.ts", 'const host = await import("../../do/Host.ts")'],
    ["layers/memory/X.ts", 'import { make } from "../cloudflare/Database.ts"'],
    ["layers/cloudflare/X.ts", 'import { make } from "../memory/Database.ts"'],
    ["layers/cloudflare/X.ts", 'import { Executor } from "../../engine/object/Executor.ts"'],
    ["client/X.ts", 'import type { ReadSet } from "../services/storage/ReadSet.ts"'],
    ["client/X.ts", 'import { App } from "../index.ts"'],
    ["do/X.ts", 'import { TestApp } from "../testing/TestApp.ts"'],
    ["engine/object/X.ts", 'import { DurableObject } from "cloudflare:workers"'],
    ["contract/X.ts", 'import { env } from "cloudflare:workers"'],
    ["do/X.ts", 'import { createHash } from "node:crypto"'],
    ["client/X.ts", 'import * as NodePath from "@effect/platform-node-shared/NodePath"'],
    ["contract/X.ts", 'import { dormouse } from "../cli/Main.ts"'],
    ["cli/X.ts", 'import { TestApp } from "../testing/TestApp.ts"'],
    ["cli/X.ts", 'import { env } from "cloudflare:workers"'],
    ["contract/X.ts", 'import {\n  Effect,\n  Layer\n} from "effect"']
  ])("%s may not: %s", (path, text) => {
    expect(wrongImports({ path, text })).toHaveLength(1)
  })

  it("no file imports itself, not even through other files", () => {
    const importsByPath = new Map(
      sources.map((source) => [source.path, importsOf(source).flatMap((specifier) => resolve(source, specifier) ?? [])])
    )
    const circles = new Set<string>()
    const visit = (path: string, trail: ReadonlyArray<string>) => {
      const start = trail.indexOf(path)
      if (start !== -1) return void circles.add([...trail.slice(start), path].join(" → "))
      if (done.has(path)) return
      for (const next of importsByPath.get(path) ?? []) visit(next, [...trail, path])
      done.add(path)
    }
    const done = new Set<string>()
    for (const path of importsByPath.keys()) visit(path, [])
    expect([...circles]).toEqual([])
  })

  it("an import in a comment does not count", () => {
    const text = '/** import { Effect } from "effect" */\n// import { Effect } from "effect"\nimport "effect/Effect"'
    expect(wrongImports({ path: "contract/X.ts", text })).toEqual([])
  })
})

describe("entries", () => {
  it.each(Object.entries(entries))("%s exists", (name, entry) => {
    const file = typeof entry === "string" ? entry : entry.source
    expect(existsSync(root + file), `${name} → ${file}`).toBe(true)
  })

  const elsewhere = [
    "./cloudflare",
    "./cloudflare/queues",
    "./storage",
    "./files/node",
    "./node",
    "./testing",
    "./package.json"
  ]
  it.each(Object.keys(entries).filter((name) => !elsewhere.includes(name)))("%s runs in a browser", (name) => {
    const { source } = entries[name] as { readonly source: string }
    const outside = closure(source.replace("./src/", "")).flatMap((file) =>
      importsOf(file)
        .filter((specifier) => /^(node|cloudflare):/.test(specifier))
        .map((specifier) => `${file.path}: ${specifier}`)
    )
    expect(outside).toEqual([])
  })

  it("./storage runs in Node and in workerd: neither's modules are imported when it is loaded", () => {
    const loaded = closure("storage.ts").flatMap(({ text }) =>
      [...codeOf(text).matchAll(/\b(?:import|export)\s+(?!type\b)[^;]*?from\s+"((?:node|cloudflare):[^"]+)"/g)].map(
        (match) => match[1]
      )
    )
    expect(loaded).toEqual([])
  })

  it("no entry imports the command, or what it needs of the platform", () => {
    const imported = Object.values(entries).flatMap((entry) =>
      typeof entry === "string" ? [] : closure(entry.source.replace("./src/", "")).map(({ path }) => path)
    )
    expect(imported.filter((path) => path.startsWith("cli"))).toEqual(
      imported.filter((path) => path.startsWith("client"))
    )
    expect(closure("cli.ts").flatMap(importsOf)).toContain("@effect/platform-node-shared/NodeRuntime")
  })

  it("the files of an entry are found through all its imports", () => {
    expect(closure("cloudflare.ts").flatMap(importsOf)).toContain("cloudflare:workers")
  })
})

describe("every file can be read by itself", () => {
  /** The lines of the comment at the beginning of a file. */
  const headerOf = (text: string): ReadonlyArray<string> =>
    (/^(?:#!.*\n)?\/\*\*\n([\s\S]*?)\n \*\//.exec(text)?.[1] ?? "").split("\n").filter((line) => /\w/.test(line))

  it("begins with a comment that says what it is for", () => {
    const missing = sources.filter(({ text }) => headerOf(text).length < 2)
    expect(missing.map(({ path }) => path)).toEqual([])
  })

  it("documents its exports", () => {
    const undocumented = sources.flatMap(({ path, text }) => {
      const lines = text.split("\n")
      return lines.flatMap((line, i) => {
        const name = /^export (?:abstract )?(?:const|class|function|interface|type|let) (\w+)/.exec(line)?.[1]
        if (name === undefined || lines[i - 1]?.trimEnd().endsWith("*/")) return []
        // A type with the name of a value is documented at the value.
        const isNamed = lines.slice(0, i).some((other) => new RegExp(`^export (?:const|class) ${name}\\b`).test(other))
        return isNamed ? [] : [`${path}: ${name}`]
      })
    })
    expect(undocumented).toEqual([])
  })

  /** Casts without a check. */
  const unsafeCast = /\bas (?:unknown as|any\b|never\b)/

  it("has at most one unsafe cast in a thousand lines, each with its proof on the line above", () => {
    const casts = sources.flatMap(({ path, text }) => {
      const lines = text.split("\n")
      return lines.flatMap((line, i) => {
        if (!unsafeCast.test(codeOf(line))) return []
        return [{ at: `${path}:${i + 1}`, isProved: lines[i - 1]?.trimStart().startsWith("//") === true }]
      })
    })
    expect(casts.filter(({ isProved }) => !isProved).map(({ at }) => at)).toEqual([])
    const lines = sources.reduce((sum, { text }) => sum + text.split("\n").length, 0)
    expect(casts.length).toBeLessThanOrEqual(lines / 1000)
  })
})

describe("K4: a run can be repeated", () => {
  it("time and random numbers come from services", () => {
    const found = sources.filter(({ text }) => unrepeatable.test(codeOf(text)))
    expect(found.map(({ path }) => path)).toEqual([])
  })
})
