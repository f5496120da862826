import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import { Admin } from "effect-dormouse/admin"
import { describe, expect, it } from "vitest"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import { memory } from "../deployment/memory.ts"
import { app, isOperated, key, options } from "../worker/admin.ts"
import { app as notesApp } from "../worker/notes.ts"
import { options as registered } from "../worker/tenants.ts"
import { suite } from "./adminCases.ts"
import { clientOf } from "./operated.ts"

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
    const { admin, ...others } = options
    const deployment = await memory(app, others)
    const headers = { authorization: `Bearer ${key}` }
    expect((await deployment.fetch("/admin/rpc", { method: "POST", headers })).status).toBe(404)
    await deployment.close()
  })
})
