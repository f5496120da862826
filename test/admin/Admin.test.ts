import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import { Admin } from "effect-dormouse/admin"
import { Blobs } from "effect-dormouse/files"
import { describe, expect, it } from "vitest"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { call } from "../deployment/Deployment.ts"
import { memory } from "../deployment/memory.ts"
import { admin, app, isOperated, key, options } from "../worker/admin.ts"
import * as FilesApp from "../worker/files.ts"
import { app as notesApp } from "../worker/notes.ts"
import { options as registered } from "../worker/tenants.ts"
import { suite } from "./adminCases.ts"
import { clientOf, exportOf, importAll } from "./operated.ts"

suite(
  "An app in memory that is operated by a key",
  async () => {
    const deployment = await memory(app, options)
    const other = await memory(notesApp, registered)
    const of = (object: string) => (isOperated(object) ? deployment : other).object(object)
    return {
      ...deployment,
      fetch: (path, init) =>
        (new Headers(init?.headers).get("x-dormouse-tenant")?.startsWith("reg-") ? other : deployment).fetch(
          path,
          init
        ),
      stub: (object) => of(object).stub as ObjectStub,
      damage: async (object, statement) => of(object).database.exec(statement),
      tables: async (object) =>
        of(object)
          .database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
          .all()
          .map(({ name }) => String(name)),
      close: async () => {
        await deployment.close()
        await other.close()
      }
    }
  },
  { histories: 6, rows: 700 }
)

describe("the key of a deployment", () => {
  it("AD1: wrong keys count as refused requests", async () => {
    const deployment = await memory(
      { ...app, limits: { ...app.limits, callsPerAddress: { limit: 3, window: "1 hour" } } },
      { ...options, addressOf: () => "192.0.2.1" }
    )
    const statuses: Array<number> = []
    for (let i = 0; i < 5; i++) statuses.push((await deployment.fetch("/admin/rpc", { method: "POST" })).status)
    expect(statuses).toEqual([401, 401, 401, 429, 429])
    // Whoever has the key is not counted.
    const { done } = clientOf(deployment)
    for (let i = 0; i < 5; i++) await done("describe", undefined)
    await deployment.close()
  })

  it.each([
    ["missing", Config.Redacted("DORMOUSE_NO_SUCH_VARIABLE")],
    ["empty", Config.succeed(Redacted.make(""))],
    ["short", Config.succeed(Redacted.make("fifteen-letters"))],
    ["of several words", Config.succeed(Redacted.make("a key that has spaces"))]
  ])("AD1: nothing is served with a key that is %s, and the log says so", async (_, secret) => {
    const deployment = await memory(app, { ...options, admin: Admin.make({ key: secret }) })
    for (const authorization of ["", "Bearer", "Bearer fifteen-letters", `Bearer ${key}`]) {
      const response = await deployment.fetch("/admin/rpc", { method: "POST", headers: { authorization } })
      expect([response.status, await response.text()]).toEqual([404, '{"error":"not found"}'])
    }
    expect(deployment.logged()).toContain("the admin key")
    await deployment.close()
  })

  it("AD1: without the option the path is that of nothing", async () => {
    const { admin: _, ...others } = options
    const deployment = await memory(app, others)
    const headers = { authorization: `Bearer ${key}` }
    expect((await deployment.fetch("/admin/rpc", { method: "POST", headers })).status).toBe(404)
    await deployment.close()
  })
})

describe("rows that name files", () => {
  it("AD10, AD4: are imported where their files are, and written by no statement", async () => {
    const deployment = await memory(FilesApp.makeApp(Blobs.layerMemory), { ...FilesApp.options, admin })
    const client = clientOf(deployment)
    const tenant = "files-from"
    const file = { name: "a.txt", type: "text/plain", bytes: 3 }
    const { value } = await call(deployment, tenant, "begin", { bucket: "attachments", new: file })
    const attached = await call(deployment, tenant, "attach", { file: value.file, count: 2, folder: "f" })
    expect(attached.value).toHaveLength(2)
    const lines = await exportOf(client, tenant)
    expect(lines).toHaveLength(3)
    // Where the file is, the rows are written again.
    expect(await importAll(client, tenant, lines, { onConflict: "replace" })).toMatchObject({ written: 3 })
    expect(await exportOf(client, tenant)).toEqual(lines)
    const elsewhere = {
      tenant: "files-to",
      id: "x",
      after: 0,
      lines: lines.join("\n"),
      onConflict: "fail",
      isSeed: false
    }
    const refused = await client.refused("import.batch", elsewhere)
    expect([refused._tag, refused.line]).toEqual(["ImportRefused", 1])
    expect(refused.detail).toContain("notes.file refers to a row that does not exist")
    expect(await exportOf(client, "files-to")).toEqual([])
    const written = await client.refused("sql", { tenant, statement: "DELETE FROM notes", write: true })
    expect(written.detail).toContain("a column of files")
    await deployment.close()
  })
})
