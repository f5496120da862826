/// <reference types="node" />
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { describe, expect, it } from "vitest"
import { StorageErrorReason } from "../../src/contract/Storage.ts"
import * as Limits from "../../src/protocol/Limits.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")
const section = (page: string, title: string) => page.split(/^## /m).find((part) => part.startsWith(title)) ?? ""

describe("the pages about storage", () => {
  it("number exactly the guarantees that tests name", () => {
    const tests = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.includes("guarantees"))
      .map((path) => read(`test/${path}`))
    const tested = new Set(tests.flatMap((text) => text.match(/\bST\d+\b/g) ?? []))
    const promised = read("docs/guarantees.md").match(/(?<=^- \*\*)ST\d+(?=\*\*)/gm) ?? []
    expect(promised).toEqual(promised.map((_, i) => `ST${i + 1}`))
    expect([...tested].sort()).toEqual([...promised].sort())
  })

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
