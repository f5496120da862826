import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Blobs } from "effect-dormouse/files"
import { Tenants } from "effect-dormouse/tenants"
import { describe, expect, it } from "vitest"
import { callersOf } from "../../deployment/Deployment.ts"
import { memory } from "../../deployment/memory.ts"
import { makeApp, options } from "../../worker/files.ts"
import { bytesOf } from "./fileCases.ts"

/** Files in an app with a registry of tenants. */

const open = async () => {
  const blobs = new Blobs.MemoryBlobs()
  const hooks = { beforePut: async (): Promise<unknown> => undefined }
  const store = Layer.effect(
    Blobs.Blobs,
    Effect.map(Blobs.Blobs, (blobs) => ({
      ...blobs,
      put: (...given: Parameters<typeof blobs.put>) =>
        Effect.andThen(
          Effect.promise(() => hooks.beforePut()),
          blobs.put(...given)
        )
    }))
  ).pipe(Layer.provide(blobs.layer))
  const app = await memory(makeApp(store), {
    ...options,
    tenants: Tenants.registry({ admin: ({ identity }) => identity.subject === "admin" })
  })
  const call = (tenant: string, tag: string, payload: unknown) => callersOf(app, tenant).done(tag, payload, "admin")
  const admin = (tag: string, payload: unknown) => call("~tenants", tag, payload)
  const upload = async (tenant: string) => {
    const target = await call(tenant, "begin", {
      bucket: "attachments",
      new: { name: "a.png", type: "image/png", bytes: 10 }
    })
    return { target, send: () => app.fetch(target.url, { method: "PUT", body: bytesOf(10) }) }
  }
  const statusOf = async (url: string, init?: RequestInit) => (await app.fetch(url, init)).status
  return { app, hooks, blobs, call, admin, upload, statusOf }
}

describe("files of tenants", () => {
  it("FI12: the bytes of a tenant go with it, also those that come afterwards", async () => {
    const { admin, app, blobs, call, hooks, statusOf, upload } = await open()
    for (const name of ["acme", "other"]) await admin("tenants.create", { name })
    const { send, target } = await upload("acme")
    expect((await send()).status).toBe(200)
    expect(target.url).toContain("object=acme%7E")
    const kept = await upload("other")
    await kept.send()
    const path = await call("acme", "url", { bucket: "attachments", file: target.file })
    expect(await statusOf(path)).toBe(200)
    const late = await upload("acme")
    const { stored } = blobs
    // The tenant is deleted while its bytes are being stored.
    hooks.beforePut = () => admin("tenants.delete", { name: "acme" })
    expect((await late.send()).status).toBe(404)
    expect(stored.size).toBe(1)
    expect(await statusOf(path)).toBe(404)
    expect(await statusOf(late.target.url)).toBe(404)
    expect(await statusOf(await call("other", "url", { bucket: "attachments", file: kept.target.file }))).toBe(200)
    await app.close()
  })

  it("FI12: the files of a tenant that is suspended are not there until it is resumed", async () => {
    const { admin, app, call, statusOf, upload } = await open()
    await admin("tenants.create", { name: "acme" })
    const { send, target } = await upload("acme")
    await send()
    const path = await call("acme", "url", { bucket: "attachments", file: target.file })
    await admin("tenants.suspend", { name: "acme" })
    expect(await statusOf(path)).toBe(404)
    await admin("tenants.resume", { name: "acme" })
    expect(await statusOf(path)).toBe(200)
    await app.close()
  })

  it("FI12: a request for a file creates no tenant, and wakes no object of the deployment", async () => {
    const { admin, app, statusOf } = await open()
    const file = "A".repeat(22)
    for (const path of [
      `/files/nobody/${file}/a`,
      `/files/~tenants/${file}/a`,
      `/files/acme/${file}/a?object=~system`
    ]) {
      expect([path, await statusOf(path)]).toEqual([path, 404])
    }
    expect((await admin("tenants.list", { size: 10, after: null, until: null })).items).toEqual([])
    expect(app.starts("~system")).toBe(0)
    await app.close()
  })
})
