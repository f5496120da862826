import { env, runInDurableObject } from "cloudflare:test"
import { describe, expect, it } from "vitest"
import { object, objects } from "../deployment/cloudflare.ts"
import { callersOf, newTenant } from "../deployment/Deployment.ts"

/** Objects of the platform that sleep until a job is due. */

describe("an object that waits for jobs", () => {
  /** Adds jobs as rows, 10,000 in one statement: by calls it would take minutes. The first comes from a call, with its alarm. */
  const schedule = async (name: string) => {
    const tenant = newTenant(name)
    const opened = object(env.JOBS, tenant)
    const { done } = callersOf(objects(env.JOBS), tenant)
    await done("after", { delay: 60_000, jobs: [{ what: "add", text: "first" }] })
    await opened.rows(
      "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) " +
        "INSERT INTO _dormouse_outbox (lane, wake, state, target, payload, caller, due, created, attempts) " +
        "SELECT lane, wake + 86400000 + n, state, target, payload, caller, due + 86400000 + n, created, 0 " +
        "FROM _dormouse_outbox, numbers"
    )
    expect(await opened.rows("SELECT count(*) FROM _dormouse_outbox")).toEqual([[10_001]])
    return { opened, done }
  }

  it("O2, O4: sleeps with 10,000 jobs, and is woken by the first alone", async () => {
    const unset = await schedule("unset")
    // The control: without its alarm an object sleeps on.
    await runInDurableObject(unset.opened.stub(), (_, ctx) => ctx.storage.deleteAlarm())
    const { done, opened } = await schedule("jobs")
    // The platform evicts the object before the job is due, and nothing but its alarm starts it again.
    await expect.poll(() => opened.starts()).toBe(2)
    expect(unset.opened.starts()).toBe(1)
    await expect
      .poll(async () => (await done("lines", {})).map(({ text }: { readonly text: string }) => text))
      .toEqual(["first"])
    expect(await opened.rows("SELECT count(*) FROM _dormouse_outbox")).toEqual([[10_000]])
    expect(await runInDurableObject(opened.stub(), (_, ctx) => ctx.storage.getAlarm())).toBeGreaterThan(
      Date.now() + 80_000_000
    )
  })
})
