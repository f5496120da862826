/// <reference types="node" />
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { describe, expect, it } from "vitest"
import { StorageErrorReason } from "../../src/contract/Storage.ts"
import * as Limits from "../../src/protocol/Limits.ts"
import { sources } from "../sources.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")
const section = (page: string, title: string) => page.split(/^## /m).find((part) => part.startsWith(title)) ?? ""

/** The numbers at the beginning of a title, such as `T1, T3: …`. */
const numbered = /["`]([A-Z]{1,2}\d+(?:(?:,| and)? [A-Z]{1,2}\d+)*):? [^"`]/g

describe("the guarantees", () => {
  const tests = sources().flatMap(({ path, text }) => (path.includes("guarantees") ? [] : [text]))
  const promised = read("docs/guarantees.md").match(/(?<=^- \*\*)[A-Z]+\d+(?=\*\*)/gm) ?? []
  const families = [...new Set(promised.map((number) => number.replace(/\d+/, "")))]

  it("are numbered from 1 in each family", () => {
    expect(families).toEqual([
      "K",
      "T",
      "ST",
      "MG",
      "L",
      "S",
      "A",
      "P",
      "AC",
      "J",
      "Q",
      "O",
      "W",
      "N",
      "PS",
      "CF",
      "FI",
      "HT",
      "AD",
      "C",
      "CL",
      "R"
    ])
    const counted = families.map((family) => promised.filter((number) => number.replace(/\d+/, "") === family))
    expect(counted).toEqual(families.map((family, i) => counted[i]!.map((_, n) => `${family}${n + 1}`)))
  })

  it("are exactly those that the titles of tests begin with", () => {
    const titles = tests.flatMap((text) => [...text.matchAll(numbered)].map(([, numbers]) => numbers!))
    const named = new Set(titles.flatMap((numbers) => numbers.match(/[A-Z]+\d+/g) ?? []))
    expect([...named].sort()).toEqual([...promised].sort())
  })

  it("are named by number, not by family", () => {
    const bare = new RegExp(`["\`](?:${families.join("|")}): .*`, "g")
    expect(tests.flatMap((text) => text.match(bare) ?? [])).toEqual([])
  })
})

describe("the pages about storage", () => {
  it("list each limit with its value", () => {
    const rows = [...section(read("docs/storage.md"), "Limits").matchAll(/^\| `(\w+)` \| (\d+) \|/gm)]
    expect(Object.fromEntries(rows.map(([, name, value]) => [name, Number(value)]))).toEqual({
      rowsRead: Limits.defaults.rowsRead,
      rowsWritten: Limits.defaults.rowsWritten,
      ...Limits.sqlite
    })
  })

  it("list each reason of a StorageError with its fields", () => {
    const rows = [...section(read("docs/storage.md"), "Errors").matchAll(/^\| `(\w+)` \| (.*?) \|/gm)]
    const listed = rows.map(([, name, fields]) => [name, fields!.replaceAll("`", "").split(", ")])
    const reasons = StorageErrorReason.members.map((reason) => {
      const { _tag, ...fields } = reason.fields
      return [_tag.schema.literal, Object.keys(fields)]
    })
    expect(listed).toEqual(reasons)
  })
})
