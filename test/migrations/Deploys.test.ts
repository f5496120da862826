/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { Auth } from "effect-dormouse/auth"
import { expect, it } from "vitest"
import { request } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"

/** Two versions of an app in a workerd, one deployed over the other. Its databases stay on disk. */

const entryOf = (name: string) => fileURLToPath(new URL(`../worker/process/${name}.ts`, import.meta.url))

it("MG1, MG2, MG3, MG5, MG8: a deployment migrates all tenants, also when it is killed, and says which failed", async () => {
  const workerd = await WorkerdProcess.start(entryOf("versionOne"))
  const send = async (tenant: string, tag: string, payload: unknown): Promise<any> => {
    const token = Auth.testToken({ subject: "admin", claims: {} })
    const response = await workerd.deployment.fetch("/rpc", {
      method: "POST",
      headers: { "content-type": "application/json", "x-dormouse-tenant": tenant, authorization: `Bearer ${token}` },
      body: JSON.stringify(request("1", tag, payload))
    })
    const text = await response.text()
    if (!text.startsWith("[")) throw new Error(`${tag}: ${response.status} ${text}`)
    const [{ exit }] = JSON.parse(text)
    return { status: response.status, exit, value: exit.value, reason: exit.cause?.[0]?.error?.reason }
  }
  const counts = async () => {
    const { value } = await send("~tenants", "tenants.migrations", {})
    return [value.done, value.running, value.failed, value.pending]
  }
  try {
    const rows = 6000
    await send("large", "addMany", { count: rows })
    await send("small", "add", { text: "a", size: "1" })
    await send("bad", "add", { text: "b", size: "many" })
    // Each object reports its version after its answer.
    await expect.poll(counts).toEqual([3, 0, 0, 0])
    await workerd.deploy(entryOf("versionTwo"))
    expect(await counts()).toEqual([0, 0, 0, 3])

    // Nobody calls the tenants: an admin starts them.
    const started = (await send("~tenants", "tenants.migrate", { after: null, size: 100 })).value
    expect(started.next).toBe(null)
    expect(started.tenants.map(({ name, state }: any) => `${name} ${state}`)).toEqual([
      "bad failed",
      "large running",
      "small done"
    ])
    const refused = await send("large", "count", {})
    expect([refused.status, refused.reason._tag]).toEqual([503, "Unavailable"])
    expect(refused.reason.detail).toMatch(/^the tenant is migrating: parse-size \(1 of 1\), \d+ of 6000 rows$/)
    const failed = await send("bad", "count", {})
    expect([failed.status, failed.reason]).toEqual([
      503,
      { _tag: "Unavailable", detail: "a migration of the tenant failed; the cause is in its log" }
    ])
    for (let kill = 0; kill < 2; kill++) {
      await workerd.kill()
      await workerd.start()
      await send("large", "count", {})
    }
    await expect.poll(() => send("large", "count", {}).then(({ value }) => value)).toBe(rows)
    const listed = (await send("large", "list", {})).value
    expect(new Set(listed.map(({ size, text }: any) => text === `item ${size.split(" ")[1]}`))).toEqual(new Set([true]))
    expect((await send("small", "list", {})).value).toEqual([{ text: "a", size: "number 1" }])
    await expect.poll(counts).toEqual([2, 0, 1, 0])
    const { items } = (await send("~tenants", "tenants.list", { size: 10, after: null, until: null })).value
    const bad = items.find(({ name }: any) => name === "bad")
    expect(bad.migration).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("parse-size (1 of 1): row")
    })

    // The version before has its values back where the migration did not end.
    await workerd.deploy(entryOf("versionOne"))
    expect((await send("bad", "list", {})).value).toEqual([{ text: "b", size: "many" }])
    expect((await send("large", "count", {})).reason._tag).toBe("Unavailable")
  } finally {
    await workerd.close()
  }
})
