import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import { JobMetrics } from "effect-dormouse/jobs"
import { MemoryBroker } from "effect-dormouse/testing"
import { afterEach, describe, expect, it, vi } from "vitest"
import { memory, turns } from "../../deployment/memory.ts"
import { first, options } from "../../worker/schedules.ts"
import { clientOf } from "./jobCases.ts"

/** What operators see of jobs and messages, with a registry of its own for each test. */

const started = async (isCarried = false) => {
  const queues = first.jobs?.queues.map(({ name }) => name) ?? []
  const registry = Layer.succeed(Metric.MetricRegistry, new Map())
  const app = await memory(
    first,
    { ...options, ...(isCarried && { broker: new MemoryBroker({ queues }) }) },
    Layer.merge(TestClock.layer(), registry)
  )
  const attempts = (lane: string, outcome: "done" | "retried" | "failed") =>
    app.run(Metric.value(JobMetrics.attempts(lane, outcome))).then(({ count }) => count)
  return {
    ...app,
    ...clientOf(app, "jobs-metrics"),
    other: clientOf(app, "jobs-other"),
    pass: async (millis: number) => {
      for (let left = millis; left > 0; left -= 100) {
        await app.run(TestClock.adjust(Math.min(left, 100)))
        await turns()
      }
    },
    counts: async (lane: string) => ({
      done: await attempts(lane, "done"),
      retried: await attempts(lane, "retried"),
      failed: await attempts(lane, "failed")
    }),
    delays: (lane: string) => app.run(Metric.value(JobMetrics.delay(lane))),
    durations: (lane: string) => app.run(Metric.value(JobMetrics.duration(lane))),
    snapshot: () => app.run(Metric.snapshot)
  }
}

afterEach(() => vi.restoreAllMocks())

describe("metrics of jobs", () => {
  it("O17: jobs and crons are counted by how their attempts end", async () => {
    const { close, counts, delays, durations, other, pass, plan, value } = await started()
    await plan(500, { what: "add", text: "a" }, { what: "fail", text: "f", retry: 200, maxAttempts: 3 })
    await plan(0, { what: "act", text: "metrics act" }, { what: "actFail", text: "metrics fail" })
    await other.plan(0, { what: "add", text: "b" })
    await value("cron.every", { name: "own", millis: 1000, text: "beat" })
    await pass(3_500)
    expect(await counts("jobs")).toEqual({ done: 3, retried: 2, failed: 2 })
    expect(await counts("crons")).toEqual({ done: 3, retried: 0, failed: 0 })
    expect([(await delays("jobs")).count, (await durations("jobs")).count]).toEqual([7, 7])
    expect((await delays("crons")).count).toBe(3)
    await close()
  })

  it.each([false, true])("O17: messages are counted and timed by their queue, with a broker: %s", async (isCarried) => {
    const { close, counts, delays, durations, pass, snapshot, value } = await started(isCarried)
    const names = ["reject metrics", "poison metrics", "fine"]
    await value("task", { texts: names, priority: "high" })
    await value("send", { to: "works", texts: ["slow metrics"] })
    await pass(5_000)
    expect(await counts("queue tasks")).toEqual({ done: 1, retried: 2, failed: 2 })
    expect(await counts("queue works")).toEqual({ done: 1, retried: 0, failed: 0 })
    expect((await delays("queue tasks")).count).toBe(5)
    expect(await delays("queue works")).toMatchObject({ count: 1, max: 0 })
    // It sleeps for a second, and the clock goes in steps.
    const { count, min = 0 } = await durations("queue works")
    expect([count, min >= 1000, min <= 1200]).toEqual([1, true, true])
    // Nothing tells the tenants apart.
    const jobs = (await snapshot()).filter(({ id }) => id.startsWith("dormouse_jobs"))
    const attributes = new Set(jobs.flatMap((metric) => Object.keys(metric.attributes ?? {})))
    expect([...attributes].toSorted()).toEqual(["lane", "outcome", "time_unit"])
    await close()
  })

  it("O17: the delay says by how much an attempt began too late", async () => {
    const { close, delays, pass, value } = await started()
    // One at a time: each hangs for 3 s, and is tried three times.
    await value("task", { texts: ["hang metrics"], to: "olds" })
    await value("task", { texts: ["waits"], to: "olds" })
    for (let i = 0; i < 8; i++) await pass(2_000)
    const { count, max } = await delays("queue olds")
    expect(count).toBe(4)
    expect(max).toBeGreaterThanOrEqual(3_000)
    await close()
  })

  it("O17: what was cancelled is not counted, and an attempt that was cut has no times", async () => {
    const { close, counts, durations, object, pass, plan, value } = await started()
    const [id] = await plan(60_000, { what: "add", text: "a" })
    expect(await value("cancel", { id })).toBe(true)
    await value("send", { to: "works", texts: ["hang metrics"] })
    await pass(200)
    await object("jobs-metrics").crash()
    await pass(41_000)
    expect(await counts("jobs")).toEqual({ done: 0, retried: 0, failed: 0 })
    expect(await counts("queue works")).toEqual({ done: 0, retried: 1, failed: 0 })
    expect((await durations("queue works")).count).toBe(0)
    await close()
  })
})
