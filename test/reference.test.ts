/// <reference types="node" />
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { describe, expect, it } from "vitest"

/**
 * The generated reference has a page for each entry, a heading for each export, and links that lead somewhere.
 * `npm run reference` writes it; this file does not, and so finds a reference that was not written again.
 */

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = join(root, "docs/reference")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly exports: Readonly<Record<string, { readonly source?: string }>>
}

interface Entry {
  readonly specifier: string
  readonly source: string
  readonly page: string
}

const entries: ReadonlyArray<Entry> = Object.entries(manifest.exports).flatMap(([path, { source }]) =>
  source === undefined
    ? []
    : [
        {
          specifier: `effect-dormouse${path.slice(1)}`,
          source: join(root, source),
          page: path === "." ? "effect-dormouse.md" : `${path.slice(2).replaceAll("/", "-")}.md`
        }
      ]
)

const read = (page: string) => readFileSync(join(folder, page), "utf8")

/** The names that the `export` statements of a file give, and after a namespace those in it: `Table`, `Table.make`. */
const exportsOf = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(file, "utf8")
  const from = (path: string) => join(dirname(file), path)
  const spaces = [...text.matchAll(/^export \* as (\w+) from "(.+)"$/gm)]
  const whole = [...text.matchAll(/^export \* from "(.+)"$/gm)]
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
  const declared = [
    ...text.matchAll(/^export (?:declare |abstract |async )*(?:const|function\*?|class|interface|type) (\w+)/gm)
  ]
  return [
    ...new Set([
      ...spaces.flatMap(([, name, path]) => [name!, ...exportsOf(from(path!)).map((inner) => `${name}.${inner}`)]),
      ...whole.flatMap(([, path]) => exportsOf(from(path!))),
      ...lists.flatMap(([, list]) => list!.split(",").flatMap((item) => /(\w+)\s*$/.exec(item)?.[1] ?? [])),
      ...declared.map(([, name]) => name!)
    ])
  ]
}

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, "")

/** The headings of exports. Those of what is not exported come after them. */
const headingsOf = (text: string): ReadonlySet<string> => {
  const [exported = ""] = withoutCode(text).split("\n## Not exported\n")
  return new Set([...exported.matchAll(/^#{2,} (.+)$/gm)].map(([, title]) => title!))
}

/** The names that have no heading. What is in a namespace of another page has its headings there. */
const missingFrom = (text: string, names: ReadonlyArray<string>) => {
  const headings = headingsOf(text)
  const elsewhere = [...text.matchAll(/^#{2,} (.+)\n\nThe same as \[/gm)].map(([, title]) => `${title}.`)
  return names.filter((name) => !headings.has(name) && !elsewhere.some((space) => name.startsWith(space)))
}

/** The anchors that the headings of a page get. The second one of the same text gets a number. */
const anchorsOf = (text: string): ReadonlySet<string> => {
  const anchors = new Map<string, number>()
  return new Set(
    [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, title]) => {
      const anchor = title!
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-")
      const count = anchors.get(anchor) ?? 0
      anchors.set(anchor, count + 1)
      return count === 0 ? anchor : `${anchor}-${count}`
    })
  )
}

const pages = existsSync(folder) ? readdirSync(folder).sort() : []
const anchors = new Map(pages.map((page) => [page, anchorsOf(read(page))]))

/** The links of a page that lead to no page, or to no heading of it. */
const brokenLinks = (page: string, text: string) =>
  [...withoutCode(text).matchAll(/\]\(([^)\s]*)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => {
      const [path = "", anchor] = link.split("#")
      const target = path === "" ? page : path
      if (anchor === undefined) return !existsSync(join(folder, target))
      return anchors.get(target)?.has(anchor) !== true
    })

const stale = "npm run reference writes docs/reference anew"

describe("the reference", () => {
  it("has a page for each entry, and no other", () => {
    expect(pages, stale).toEqual([...entries.map(({ page }) => page), "README.md"].sort())
    expect(entries.filter(({ page, specifier }) => !read("README.md").includes(`[${specifier}](${page})`))).toEqual([])
  })

  it.each(entries)("has what $specifier exports, and nothing else", ({ page, source, specifier }) => {
    const names = exportsOf(source)
    expect(names.length).toBeGreaterThan(0)
    expect(read(page).startsWith(`# ${specifier}\n`)).toBe(true)
    expect(missingFrom(read(page), names), stale).toEqual([])
    expect(
      [...headingsOf(read(page))].filter((title) => !names.includes(title)),
      stale
    ).toEqual([])
  })

  // Modules of the platform are not there in Node.
  it.each(entries.filter(({ specifier }) => !/\/cloudflare(\/|$)/.test(specifier)))(
    "has what $specifier has at run time",
    async ({ page, source }) => {
      expect(missingFrom(read(page), Object.keys(await import(source))), stale).toEqual([])
    }
  )

  it.each(pages)("%s links to headings that exist", (page) => {
    expect(brokenLinks(page, read(page))).toEqual([])
  })

  it("names no file of the machine that wrote it", () => {
    expect(pages.filter((page) => /import\("|node_modules|file:\/\/|\]\(https?:/.test(read(page)))).toEqual([])
  })
})

describe("the controls", () => {
  const text = read("storage.md")

  it("a name that a page does not have is found, also one that only its code has", () => {
    expect(missingFrom(text, ["Transactor", "Locks", "Locks.acquire"])).toEqual([])
    expect(missingFrom(text, ["Transactor", "Nothing", "Locks.nothing"])).toEqual(["Nothing", "Locks.nothing"])
    expect(missingFrom("# a\n\n```ts\n## Locks\n```\n\n## Not exported\n\n### Plan\n", ["Locks", "Plan"])).toEqual([
      "Locks",
      "Plan"
    ])
    expect(missingFrom(text.replace("\n## Transactor\n", "\n"), ["Transactor"])).toEqual(["Transactor"])
  })

  it("names of every form of export are found", () => {
    const names = exportsOf(join(root, "src/storage.ts"))
    expect(names).toEqual(expect.arrayContaining(["Transactor", "Table", "Table.make", "Table.Any"]))
    expect(exportsOf(join(root, "src/auth.ts"))).toEqual(expect.arrayContaining(["Identity", "Auth.Identity"]))
  })

  it("a link to no page, and one to no heading, is found", () => {
    const links = "[a](#transactor) [b](client.md) [c](nothing.md) [d](#nothing) [e](client.md#nothing)"
    expect(brokenLinks("storage.md", links)).toEqual(["nothing.md", "#nothing", "client.md#nothing"])
  })
})
