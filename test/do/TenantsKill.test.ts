/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { expect, it } from "vitest"
import { call, post, request } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { forAllAsync, type Random, Violation } from "../random.ts"

/** A registry of tenants in a workerd that is killed while admins change tenants. Its databases stay on disk. */

const entry = fileURLToPath(new URL("../worker/process/tenants.ts", import.meta.url))

it("A17, A18: a kill in the middle of deletions and new names loses no tenant, and leaves none half done", async () => {
  const workerd = await WorkerdProcess.start(entry)
  const { deployment } = workerd
  const administer = async (tag: string, payload: unknown): Promise<any> => {
    const body = JSON.stringify(request("1", `tenants.${tag}`, payload))
    const response = await post(deployment, "~tenants", body, { "x-test-subject": "admin" })
    const messages = (await response.json()) as ReadonlyArray<any>
    return messages.find(({ _tag }) => _tag === "Exit").exit
  }
  const list = async (): Promise<ReadonlyArray<any>> =>
    (await administer("list", { size: 1000, after: null, until: null })).value.items
  /** The notes of a tenant, or `undefined` when there is no such tenant. */
  const read = async (tenant: string): Promise<ReadonlyArray<string> | undefined> => {
    const response = await post(deployment, tenant, JSON.stringify(request("1", "notes.list", {})))
    if (response.status === 404) return undefined
    const [{ exit }] = (await response.json()) as any
    return exit.value.map(({ body }: any) => body)
  }
  let round = 0
  const check = async (random: Random): Promise<void> => {
    const names = random.array(8, (index) => `reg-${round}-${index}`)
    round++
    for (const name of names) {
      await administer("create", { name })
      await call(deployment, name, "notes.add", { body: name })
    }
    const answered = new Set<string>()
    const killAfter = random.int(names.length)
    const changing = names.map(async (name, index) => {
      const isDeleted = index % 2 === 0
      const exit = isDeleted
        ? await administer("delete", { name })
        : await administer("rename", { name, to: `${name}-new` })
      if (exit._tag === "Success") answered.add(name)
    })
    const outcomes = Promise.allSettled(changing)
    while (answered.size < killAfter) await Promise.race(changing.filter((_, index) => !answered.has(names[index]!)))
    await workerd.kill()
    await outcomes
    await workerd.start()
    for (const [index, name] of names.entries()) {
      const isDeleted = index % 2 === 0
      const [before, after] = [await read(name), await read(`${name}-new`)]
      const found = JSON.stringify([before, after])
      const done = isDeleted ? "[null,null]" : JSON.stringify([null, [name]])
      const allowed = answered.has(name) ? [done] : [done, JSON.stringify([[name], null])]
      if (!allowed.includes(found)) throw new Violation(`${name}: ${found} instead of ${allowed.join(" or ")}`)
    }
    await expect.poll(async () => (await list()).filter(({ isSettled }) => !isSettled)).toEqual([])
    for (const name of names) {
      const isGone = (await read(name)) === undefined
      const { _tag } = await administer("create", { name })
      if ((_tag === "Success") !== isGone) throw new Violation(`${name}: creating it again gave ${_tag}`)
      if (isGone && (await read(name))?.length !== 0) throw new Violation(`${name} does not begin empty`)
    }
  }
  try {
    await forAllAsync(2, check)
  } finally {
    await workerd.close()
  }
})
