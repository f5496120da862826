import * as Clock from "effect/Clock"
import * as TestClock from "effect/testing/TestClock"
import { App } from "effect-dormouse"
import { Cron, Jobs } from "effect-dormouse/jobs"
import { Tenants } from "effect-dormouse/tenants"
import { describe, expect, it, vi } from "vitest"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import { copy, type MemoryDeployment, memory, turns } from "../../deployment/memory.ts"
import { JobsApi, JobsHandlers, lines, ran } from "../../worker/jobs.ts"
import { first, options, second } from "../../worker/schedules.ts"
import { clientOf, suite } from "./jobCases.ts"

/** An app under a clock that the test moves. */
const timed = async (app: App.App<any>, more: Parameters<typeof memory>[1] = {}) => {
  const deployment = await memory(app as never, { ...options, ...more }, TestClock.layer())
  return {
    ...deployment,
    now: () => deployment.run(Clock.currentTimeMillis),
    pass: async (millis: number) => {
      await deployment.run(TestClock.adjust(millis))
      await turns()
    }
  }
}

suite("in memory", async () => {
  const deployment = await timed(first)
  const others: Array<MemoryDeployment> = []
  return {
    ...deployment,
    deploy: async (tenant) => {
      const next = await timed(second)
      others.push(next)
      await next.pass(await deployment.now())
      await deployment.evict(tenant)
      copy(deployment.object(tenant).database, next.object(tenant).database)
      return next
    },
    close: async () => {
      for (const other of others) await other.close()
      await deployment.close()
    }
  }
})

describe("the outbox", () => {
  /** A new tenant in a deployment of its own. */
  const started = async (tenant = "jobs-own") => {
    const app = await timed(first)
    return { app, tenant, object: app.object(tenant), ...clientOf(app, tenant) }
  }

  it("O1: nothing is delivered before its commit, nor before the commit of its claim", async () => {
    const { plan, app, call, object, texts } = await started()
    const name = "O1 act"
    await plan(3_600_000, { what: "add", text: "makes the tables" })
    object.failNextCommit()
    expect((await call("after", { delay: 0, jobs: [{ what: "act", text: name }] }))._tag).toBe("Failure")
    await app.pass(10_000)
    expect(ran.filter((text) => text === name)).toEqual([])
    await plan(1_000, { what: "act", text: name })
    object.failNextCommit()
    const { starts } = object
    await app.pass(1_000)
    await expect.poll(() => object.starts).toBeGreaterThan(starts - 1)
    expect(ran.filter((text) => text === name)).toEqual([])
    await app.pass(10_000)
    await expect.poll(texts).toEqual([name])
    expect(ran.filter((text) => text === name)).toHaveLength(1)
    await app.close()
  })

  it("J5, S1: an alarm whose object does not start goes off again a minute later, and the next event starts it anew", async () => {
    const { plan, app, object, texts } = await started()
    await plan(1_000, { what: "add", text: "one" })
    const tables = () => object.database.prepare("SELECT tables FROM _dormouse_schema").get()?.["tables"] as string
    const set = (tables: string) => object.database.prepare("UPDATE _dormouse_schema SET tables = ?").run(tables)
    const whole = tables()
    const damage = async () => {
      set("damaged")
      await object.evict()
    }
    await damage()
    await app.pass(1_000)
    // The control: the object did not start.
    await expect.poll(() => object.alarm.at).toBe((await app.now()) + 60_000)
    await expect(object.engine()).rejects.toThrow()
    set(whole)
    const { starts } = object
    const written = () => object.database.prepare("SELECT count(*) AS count FROM lines").get()?.["count"]
    await app.pass(59_999)
    expect([object.starts - starts, written()]).toEqual([0, 0])
    await app.pass(1)
    await expect.poll(written).toBe(1)
    expect(object.starts - starts).toBe(1)
    expect(await texts()).toEqual(["one"])
    // Without an alarm.
    await damage()
    await expect(texts()).rejects.toThrow(/Unavailable/)
    set(whole)
    expect(await texts()).toEqual(["one"])
    await app.close()
  })

  it("O2: what is due after a crash runs, without a call", async () => {
    const { plan, app, object, texts } = await started()
    await plan(1_000, { what: "add", text: "one" })
    await object.crash()
    const { starts } = object
    await app.pass(1_000)
    await expect.poll(() => object.starts).toBe(starts + 1)
    expect(await texts()).toEqual(["one"])
    await app.close()
  })

  it("O3: an action that was cut is run again with `retry`, and is kept as failed without", async () => {
    const { plan, app, job, object } = await started()
    const [once, often] = await plan(
      0,
      { what: "actHang", text: "O3 once" },
      { what: "actHang", text: "O3 often", retry: 100, maxAttempts: 2 }
    )
    const times = (name: string) => ran.filter((text) => text === name).length
    await expect.poll(() => [times("O3 once"), times("O3 often")]).toEqual([1, 1])
    await object.crash()
    await app.pass(60_000)
    expect(await job(once)).toMatchObject({ state: "running" })
    await app.pass(260_000)
    await expect.poll(() => job(once)).toMatchObject({ state: "failed", reason: { kind: "cut" } })
    await app.pass(200)
    await expect.poll(() => times("O3 often")).toBe(2)
    expect(times("O3 once")).toBe(1)
    expect(await job(often)).toMatchObject({ state: "running", attempts: 2, reason: { kind: "cut" } })
    await app.close()
  })

  it("O4: an object with only future and failed jobs sleeps until the first is due", async () => {
    const { plan, app, jobs, object, tenant } = await started()
    await plan(0, { what: "fail", text: "x" })
    await plan(1_800_000, { what: "add", text: "one" }, { what: "add", text: "two" })
    await app.pass(0)
    await expect.poll(async () => (await jobs("failed")).length).toBe(1)
    // The alarm that looks whether what was due has ended.
    await app.pass(10_000)
    await app.evict(tenant)
    const starts = object.starts
    await app.pass(1_789_999)
    expect(object.starts).toBe(starts)
    expect(object.alarm.at).toBe(1_800_000)
    await app.pass(1)
    await expect.poll(() => object.starts).toBe(starts + 1)
    await app.close()
  })

  it("O5: calls are answered between the jobs of a full outbox", async () => {
    const { plan, app, texts } = await started()
    const jobs = Array.from({ length: 300 }, (_, i) => ({ what: "add" as const, text: `${i}` }))
    await plan(1_000, ...jobs)
    await app.pass(1_000)
    expect((await texts()).length).toBeLessThan(300)
    await expect.poll(async () => (await texts()).length).toBe(300)
    expect((await texts()).slice(0, 3)).toEqual(["0", "1", "2"])
    await app.close()
  })

  it("O5: while the database takes no writes nothing is delivered, and the object is not busy", async () => {
    const { plan, app, tenant, texts } = await started()
    await plan(1_000, { what: "act", text: "O5 act" })
    const claim = vi.spyOn(TransactionOutbox.prototype, "claim").mockImplementation(() => {
      throw new Error("the database is full")
    })
    await app.pass(1_000)
    await expect.poll(() => claim.mock.calls.length).toBe(1)
    await app.evict(tenant)
    expect(claim).toHaveBeenCalledTimes(1)
    expect(ran).not.toContain("O5 act")
    claim.mockRestore()
    await app.pass(10_000)
    await expect.poll(texts).toEqual(["O5 act"])
    await app.close()
  })

  it("O7: jobs of a suspended tenant wait, and run after it is resumed", async () => {
    const app = await timed(first, {
      tenants: Tenants.registry({ admin: ({ identity }) => identity.subject === "admin" })
    })
    const admin = clientOf(app, "~tenants", "admin")
    const { object: name } = await admin.value("tenants.create", { name: "jobs-suspended" })
    const { plan, texts, value } = clientOf(app, "jobs-suspended")
    await plan(1_000, { what: "add", text: "one" }, { what: "act", text: "two" })
    await admin.value("tenants.suspend", { name: "jobs-suspended" })
    await app.pass(600_000)
    // It does nothing meanwhile: an object that is busy cannot be evicted.
    await app.evict(name)
    await app.pass(600_000)
    expect(app.object(name).database.prepare("SELECT count(*) AS count FROM lines").get()).toEqual({ count: 0 })
    await admin.value("tenants.resume", { name: "jobs-suspended" })
    await expect.poll(async () => (await texts()).toSorted()).toEqual(["one", "two"])
    expect(await value("jobs")).toEqual([])
    await app.close()
  })

  it("J16: a mutation that takes its object with it each time is kept as failed, and the others run", async () => {
    const { app, jobs, object, plan, texts } = await started()
    const end = TransactionOutbox.prototype.end
    let losses = 0
    vi.spyOn(TransactionOutbox.prototype, "end").mockImplementation(function (this: TransactionOutbox, delivery) {
      if (delivery.payload.includes("lost")) {
        losses++
        object.failNextCommit()
      }
      end.call(this, delivery)
    })
    const others = ["1", "2", "3", "4", "5", "6"]
    const job = (text: string, more = {}) => ({ what: "add", text, ...more }) as const
    await plan(1_000, job("1"), job("2"), job("lost"), job("3"), job("4"))
    await plan(1_000, job("lost again", { retry: 100, maxAttempts: 2 }), job("5"), job("6"))
    for (let i = 0; i < 20; i++) await app.pass(5_000)
    await expect.poll(async () => (await texts()).toSorted()).toEqual(others)
    expect(await jobs("failed")).toMatchObject([
      { payload: { text: "lost" }, reason: { kind: "cut" } },
      { payload: { text: "lost again" }, reason: { kind: "cut" } }
    ])
    expect(losses).toBeLessThanOrEqual(4 + 5)
    vi.restoreAllMocks()
    await app.close()
  })

  it("J16: a mutation that others overtake after it was counted has not been lost", async () => {
    const { app, jobs, object, plan, texts } = await started()
    const chained = (text: string) => ({ what: "add", text, key: "chain" }) as const
    await plan(2_000, chained("1"))
    // Each is due before the one that overtakes it waits for.
    for (const text of ["2", "3", "4", "5", "6"]) await plan(1_000, chained(text))
    await plan(3_000, { what: "add", text: "alone" })
    await app.pass(0)
    await object.crash()
    object.alarm.stop()
    await app.pass(60_000)
    await expect.poll(async () => (await texts()).toSorted()).toEqual(["1", "2", "3", "4", "5", "6", "alone"])
    expect(await jobs("failed")).toEqual([])
    await app.close()
  })

  it("J16: an attempt that is counted before it runs is no other attempt than one that is not", async () => {
    const { app, jobs, object, plan } = await started()
    await plan(1_000, { what: "fail", text: "x", retry: 1_000, maxAttempts: 2 })
    await app.pass(0)
    await object.crash()
    object.alarm.stop()
    await app.pass(60_000)
    await expect.poll(() => jobs("waiting")).toMatchObject([{ attempts: 1 }])
    await app.pass(2_000)
    await expect.poll(() => jobs("failed")).toMatchObject([{ attempts: 2 }])
    await app.close()
  })

  it("J15: what failed is deleted after a while, and of a cron the last hundred are kept", async () => {
    const failing = App.make({
      api: JobsApi,
      tables: [lines],
      handlers: JobsHandlers,
      jobs: Jobs.make({
        crons: [Cron.every("failing", "1 second", { api: JobsApi, tag: "fail", payload: { text: "cron" } })],
        failedRetention: "3 minutes"
      })
    })
    const app = await timed(failing)
    const { database } = app.object("jobs-failing")
    const { plan } = clientOf(app, "jobs-failing")
    const failed = () => {
      const rows = database.prepare("SELECT cron, due FROM _dormouse_outbox WHERE state = 'failed' ORDER BY id").all()
      return rows.map(({ cron, due }) => (cron === null ? "job" : Number(due) / 1_000))
    }
    await plan(0, { what: "fail", text: "one" })
    await expect.poll(failed).toEqual(["job"])
    for (let i = 1; i <= 150; i++) await app.pass(1_000)
    const expected = Array.from({ length: 100 }, (_, i) => 51 + i)
    await expect.poll(failed).toEqual(["job", ...expected])
    for (let i = 1; i <= 35; i++) await app.pass(1_000)
    await expect.poll(failed).toEqual(expected.map((due) => due + 35))
    await app.close()
  })

  it("Q2: the id of a message is remembered for a day, also by a version that does not have its queue", async () => {
    const { app, value, ...client } = await started()
    const texts = async () => (await client.texts()).filter((text) => ["one", "two", "three"].includes(text))
    const [one] = await value("task", { texts: ["one"], id: "x" })
    await expect.poll(texts).toEqual(["one"])
    await app.pass(86_000_000)
    expect(await value("task", { texts: ["two"], id: "x" })).toEqual([one])
    const next = await timed(second)
    await next.pass(await app.now())
    copy(app.object("jobs-own").database, next.object("jobs-own").database)
    expect(await clientOf(next, "jobs-own").jobs("failed")).toEqual([])
    await next.close()
    await app.pass(1_000_000)
    expect(await value("task", { texts: ["three"], id: "x" })).not.toEqual([one])
    await expect.poll(texts).toEqual(["one", "three"])
    await app.close()
  })
})

describe("crons", () => {
  const minute = 60_000
  const started = async (cron: object) => {
    const app = await timed(first)
    const client = clientOf(app, "jobs-crons")
    await client.value("cron.set", { name: "own", expression: "* * * * *", text: "x", ...cron })
    const state = async () => (await client.value("crons")).find(({ name }: any) => name === "own")
    /** Passes time in which the object cannot run. */
    const miss = async (millis: number) => {
      await app.pass(0)
      await app.evict("jobs-crons")
      app.object("jobs-crons").alarm.stop()
      await app.pass(millis)
    }
    return { app, ...client, miss, state }
  }

  it("J13: each occurrence is one job, and `next` and `last` are its times", async () => {
    const { app, lines, state } = await started({})
    expect(await state()).toMatchObject({ next: minute, last: null, skipped: 0 })
    for (const count of [1, 2, 3]) {
      await app.pass(minute)
      await expect.poll(async () => (await lines()).map(({ at }) => at / minute)).toEqual([1, 2, 3].slice(0, count))
      expect(await state()).toMatchObject({ next: (count + 1) * minute, last: count * minute, skipped: 0 })
    }
    await app.close()
  })

  it("J13: of the occurrences that were missed none, the last or some run", async () => {
    for (const [missed, overlap, count] of [
      ["once", "skip", 1],
      ["once", "queue", 1],
      [3, "queue", 3]
    ] as const) {
      const { app, lines, miss, state } = await started({ missed, overlap })
      await miss(10 * minute + 1)
      await expect.poll(async () => (await lines()).length).toBe(count)
      expect(await state()).toMatchObject({ next: 11 * minute, last: 10 * minute })
      await app.close()
    }
    // Every ten minutes, and seven late.
    const { app, lines, miss, state } = await started({ missed: "skip", expression: "*/10 * * * *" })
    await miss(17 * minute)
    await expect.poll(async () => (await state()).skipped).toBe(1)
    expect(await state()).toMatchObject({ next: 20 * minute, last: null })
    // The control: one that is not late runs.
    await app.pass(3 * minute)
    await expect.poll(async () => (await lines()).length).toBe(1)
    await app.close()
  })

  it("J13: while an earlier occurrence has not ended, one is left out or waits", async () => {
    const skipping = await started({ what: "actHang", text: "J13 skip", overlap: "skip" })
    const queueing = await started({ what: "actHang", text: "J13 queue", overlap: "queue" })
    for (const { app } of [skipping, queueing]) {
      for (let i = 0; i < 3; i++) await app.pass(minute)
    }
    await expect.poll(async () => (await skipping.state()).skipped).toBe(2)
    expect((await skipping.jobs()).map(({ state }) => state)).toEqual(["running"])
    expect(ran.filter((text) => text === "J13 skip")).toHaveLength(1)
    await expect
      .poll(async () => (await queueing.jobs()).map(({ state }) => state))
      .toEqual(["running", "waiting", "waiting"])
    expect(ran.filter((text) => text === "J13 queue")).toHaveLength(1)
    await skipping.app.close()
    await queueing.app.close()
  })
})
