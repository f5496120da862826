import { env } from "cloudflare:test"
import { CloudflareQueues } from "effect-dormouse/cloudflare/queues"
import { describe, expect, it, vi } from "vitest"
import { cloudflare, object } from "../../deployment/cloudflare.ts"
import { newTenant } from "../../deployment/Deployment.ts"
import { ran } from "../../worker/jobs.ts"
import { deployed, first } from "../../worker/schedules.ts"
import { clientOf, suite } from "./jobCases.ts"

/** Queues over Cloudflare Queues: those of Miniflare, in workerd. */

suite("over Cloudflare Queues", async () => {
  const deployment = cloudflare()
  return {
    ...deployment,
    prefix: "carried",
    now: async () => Date.now(),
    pass: async (millis) => {
      const end = Date.now() + millis
      await expect.poll(() => Date.now(), { interval: 20 }).toBeGreaterThanOrEqual(end)
    },
    deploy: async (tenant) => {
      deployed.add(tenant)
      await deployment.evict(tenant)
      return deployment
    }
  }
})

describe("a Cloudflare Queue", () => {
  const started = () => {
    const deployment = cloudflare()
    const tenant = newTenant("carried")
    return { ...clientOf(deployment, tenant), deployment, tenant, text: `queued ${newTenant("x")}` }
  }
  const begun = (text: string) => ran.filter((line) => line === text).length

  it("Q10: carries the id of a call and the name of its object; a second delivery begins nothing", async () => {
    const { job, tenant, text, texts, value } = started()
    const { sendBatch } = env.TASKS
    const sent: Array<any> = []
    const spy = vi.spyOn(env.TASKS, "sendBatch").mockImplementation((messages) => {
      const all = [...messages]
      sent.push(...all.map(({ body }: any) => body).filter((body) => body.tenant === tenant))
      return sendBatch.call(env.TASKS, [...all, ...all])
    })
    const [id] = await value("task", { texts: [text] })
    await expect.poll(texts).toEqual([text])
    spy.mockRestore()
    expect(sent).toEqual([{ tenant, queue: "tasks", call: expect.stringMatching(/^\d+\.[0-9a-z]+$/) }])
    await env.TASKS.send(sent[0])
    // What comes after it in the queue is handled after it.
    await value("task", { texts: [`${text} later`] })
    await expect.poll(texts).toEqual([text, `${text} later`])
    expect([begun(text), await job(id)]).toEqual([1, null])
  })

  it("Q10: that the app does not have is refused when the app is served", () => {
    expect(() => CloudflareQueues.serve(first, { queues: { none: "NONE" } })).toThrow("the app has no queue none")
  })

  it("Q11: that takes nothing costs no attempt", async () => {
    const { job, text, texts, value } = started()
    const spy = vi.spyOn(env.TASKS, "sendBatch").mockRejectedValue(new Error("overloaded"))
    const [id] = await value("task", { texts: [text] })
    await expect.poll(() => job(id)).toMatchObject({ state: "waiting", attempts: 0 })
    await expect.poll(() => spy.mock.calls.length).toBeGreaterThan(1)
    spy.mockRestore()
    await expect.poll(texts).toEqual([text])
    expect(begun(text)).toBe(1)
  })

  it("Q10: a larger message than a Cloudflare Queue takes is handled", async () => {
    const { jobs, text, texts, value } = started()
    const large = `${text} ${"x".repeat(500_000)}`
    await value("task", { texts: [large] })
    await expect.poll(async () => (await texts()).map(({ length }) => length)).toEqual([large.length])
    await expect.poll(jobs).toEqual([])
  })

  it("Q12: what no object has sent is dropped, and the others go on", async () => {
    const { deployment, tenant, text, texts, value } = started()
    const call = { tenant, queue: "tasks", call: "1.a" }
    const nobody = newTenant("carried")
    await value("add", { text: "first" })
    deployment.logged()
    for (const body of ["text", 7, {}, { ...call, queue: "none" }, { ...call, object: "~system" }, call])
      await env.TASKS.send(body)
    await env.TASKS.send({ ...call, tenant: nobody })
    await value("task", { texts: [text] })
    await expect.poll(texts).toEqual(["first", text])
    let log = ""
    const dropped = () => {
      log += deployment.logged()
      return log.match(/a queue delivered/g)?.length
    }
    await expect.poll(dropped).toBe(7)
    // Nothing was written there.
    expect(await clientOf(deployment, nobody).value("crons")).toEqual([])
    expect(object(env.TENANT_OBJECT, nobody).starts()).toBe(1)
  })
})
