import * as Clock from "effect/Clock"
import * as TestClock from "effect/testing/TestClock"
import { Tenants } from "effect-dormouse/tenants"
import { type Fate, MemoryBroker, type TestAppOptions } from "effect-dormouse/testing"
import { afterEach, describe, expect, it, vi } from "vitest"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import { copy, type MemoryDeployment, memory, turns } from "../../deployment/memory.ts"
import { ran } from "../../worker/jobs.ts"
import { first, options, second } from "../../worker/schedules.ts"
import { clientOf, suite } from "./jobCases.ts"

/** An app whose queues a broker in memory carries, under a clock that the test moves. */
const timed = async (
  app: typeof first | typeof second,
  fate: (number: number) => Fate = () => ({}),
  more: TestAppOptions = {}
) => {
  let number = 0
  const queues = app.jobs?.queues.map(({ name }) => name) ?? []
  const broker = new MemoryBroker({ queues, fate: () => fate(++number) })
  const deployment = await memory(app as never, { ...options, ...more, broker }, TestClock.layer())
  return {
    ...deployment,
    broker,
    now: () => deployment.run(Clock.currentTimeMillis),
    /** In steps: what follows from one of them takes turns, and sets timers. */
    pass: async (millis: number) => {
      let left = millis
      do {
        await deployment.run(TestClock.adjust(Math.min(left, 500)))
        await turns()
        left -= 500
      } while (left > 0)
    }
  }
}

suite("over a broker in memory", async () => {
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

afterEach(() => vi.restoreAllMocks())

describe("calls that a broker carries", () => {
  let count = 0
  /** A new tenant in a deployment of its own, and what becomes of the first, the second, … of its calls. */
  const started = async (fate?: (number: number) => Fate) => {
    const app = await timed(first, fate)
    const tenant = "jobs-own"
    const text = `carried ${++count}`
    return {
      ...app,
      tenant,
      objectOf: app.object,
      object: app.object(tenant),
      ...clientOf(app, tenant),
      text,
      begun: (name = text) => ran.filter((line) => line === name).length
    }
  }

  it("Q10: the broker has the id of a call and the name of its object, and no payload", async () => {
    const { broker, pass, tenant, text, texts, value } = await started()
    await value("task", { texts: [text] })
    await pass(0)
    expect(await texts()).toEqual([text])
    expect(broker.taken).toEqual([{ tenant, queue: "tasks", call: expect.stringMatching(/^1\.[0-9a-z]+$/) }])
  })

  it("Q11: a call that is delivered twice begins once", async () => {
    const { begun, broker, job, pass, text, texts, value } = await started(() => ({ after: [0, 0, 50, 5000] }))
    const slow = `slow ${text}`
    await value("send", { to: "works", texts: [slow] })
    await pass(0)
    expect(await job("1")).toMatchObject({ state: "running", attempts: 1 })
    await pass(1000)
    expect(await texts()).toEqual([slow])
    await pass(10_000)
    broker.deliver(broker.taken[0])
    await pass(60_000)
    expect([begun(slow), await texts()]).toEqual([1, [slow]])
  })

  it("control: Q11: without the mark that a call has begun it runs as often as it is delivered", async () => {
    const outbox: any = TransactionOutbox.prototype
    const { write } = outbox
    vi.spyOn(outbox, "write").mockImplementation(function (this: any, sql: any, params: unknown) {
      return /SET state = 'running', attempts = attempts \+ 1, sends = 0/.test(sql) ? [] : write.call(this, sql, params)
    })
    const { begun, pass, text, value } = await started(() => ({ after: [0, 0, 50] }))
    await value("task", { texts: [text] })
    await pass(1000)
    expect(begun()).toBe(3)
  })

  it("Q11: what the broker does not take waits, costs no attempt, and can be cancelled meanwhile", async () => {
    let isAway = true
    const { begun, broker, job, logged, pass, text, texts, value } = await started(() => ({ isRefused: isAway }))
    const [first, second] = await value("send", { to: "works", texts: [text, "cancelled"] })
    await pass(0)
    expect(await job(first)).toMatchObject({ state: "waiting", attempts: 0 })
    expect(logged()).toContain("the broker did not take")
    expect(await value("cancel", { id: second })).toBe(true)
    await pass(60_000)
    expect(await job(first)).toMatchObject({ state: "waiting", attempts: 0 })
    // Not again and again without a pause: after 1, 2, 4, 8, 16 and 32 seconds.
    const refusals = logged().split("the broker did not take").length - 1
    expect(refusals).toBeLessThanOrEqual(7)
    expect(refusals).toBeGreaterThan(3)
    isAway = false
    await pass(5 * 60_000)
    expect([begun(), await texts(), broker.taken.length]).toEqual([1, [text], 1])
  })

  it("Q11: a broker that says it took nothing, and delivers, runs nothing twice", async () => {
    // It takes the first of two calls, and says that it took none.
    const { begun, pass, text, texts, value } = await started((number) => ({ isRefused: number === 2, after: [500] }))
    await value("send", { to: "works", texts: [text, `${text} too`] })
    await pass(60_000)
    expect((await texts()).toSorted()).toEqual([text, `${text} too`])
    expect([begun(), begun(`${text} too`)]).toEqual([1, 1])
  })

  it("Q11: a call that the broker has lost is sent again after a minute, then after two", async () => {
    const { begun, broker, job, pass, text, texts, value } = await started((n) => (n < 3 ? { after: [] } : {}))
    const [id] = await value("task", { texts: [text] })
    await pass(59_000)
    expect(await job(id)).toMatchObject({ state: "running", attempts: 0 })
    expect(broker.taken.length).toBe(1)
    await pass(1_000)
    expect(broker.taken.length).toBe(2)
    await pass(119_000)
    expect(broker.taken.length).toBe(2)
    await pass(1_000)
    expect([begun(), await texts(), broker.taken.length]).toEqual([1, [text], 3])
    expect(new Set(broker.taken.map(({ call }) => call)).size).toBe(1)
  })

  it("Q10: the broker has no more calls of a tenant than `concurrency`, also after an eviction", async () => {
    const { broker, object, pass, text, texts, value } = await started()
    const names = ["1", "2", "3", "4", "5"].map((number) => `slow ${text} ${number}`)
    await value("send", { to: "works", texts: names })
    await pass(0)
    expect(broker.taken.length).toBe(2)
    await object.evict()
    await value("send", { to: "works", texts: [text], priority: "high" })
    await pass(500)
    expect(broker.taken.length).toBe(2)
    await pass(5_000)
    expect(broker.taken.length).toBe(6)
    expect((await texts()).indexOf(text)).toBeLessThan(3)
  })

  it("Q11: an answer that comes after its attempt was cut settles nothing", async () => {
    const { job, object, pass, text, texts, value } = await started()
    const held = Promise.withResolvers<void>()
    let isFirst = true
    const { call } = object.stub
    vi.spyOn(object.stub, "call").mockImplementation(async (...args) => {
      if (isFirst && args[1].includes("~outbox.settle")) {
        isFirst = false
        await held.promise
      }
      return call(...args)
    })
    const slow = `slow ${text}`
    const [id] = await value("send", { to: "works", texts: [slow] })
    await pass(40_000)
    // Until the second attempt runs.
    for (let step = 0; step < 50 && (await job(id)).attempts < 2; step++) await pass(100)
    expect(await job(id)).toMatchObject({ state: "running", attempts: 2 })
    held.resolve()
    await pass(0)
    expect(await job(id)).toMatchObject({ state: "running", attempts: 2 })
    await pass(2_000)
    expect([await job(id), await texts()]).toEqual([null, [slow, slow]])
  })

  it("Q11: a call whose consumer is lost is cut, and tried again", async () => {
    const { begun, broker, job, pass, text, texts, value } = await started()
    const slow = `slow ${text}`
    const [id] = await value("send", { to: "works", texts: [slow] })
    await pass(500)
    broker.crash()
    await pass(38_000)
    expect(await job(id)).toMatchObject({ state: "running", attempts: 1 })
    await pass(2_000)
    expect(await job(id)).toMatchObject({ attempts: 1, reason: { kind: "cut" } })
    await pass(5_000)
    expect(await job(id)).toBe(null)
    expect(begun(slow)).toBe(2)
    expect(await texts()).toContain(slow)
  })

  it("Q10: an object whose calls are under way need not stay in memory", async () => {
    const { job, object, pass, text, texts, value } = await started(() => ({ after: [1000] }))
    const [id] = await value("task", { texts: [text] })
    await pass(0)
    await object.evict()
    await pass(900)
    expect(await job(id)).toMatchObject({ state: "running" })
    await object.evict()
    await pass(100)
    expect([await texts(), await job(id)]).toEqual([[text], null])
  })

  it("Q10: messages are taken over by a version that delivers them itself, and back", async () => {
    const app = await started(() => ({ after: [] }))
    const [id] = await app.value("task", { texts: [app.text] })
    await app.pass(0)
    const alone = await memory(first as never, options, TestClock.layer())
    copy(app.object.database, alone.object(app.tenant).database)
    await alone.run(TestClock.adjust(0))
    const own = clientOf(alone, app.tenant)
    expect(await own.job(id)).toMatchObject({ state: "running", attempts: 0 })
    await alone.run(TestClock.adjust(61_000))
    await expect.poll(own.texts).toEqual([app.text])
    expect(await own.jobs()).toEqual([])
    await alone.close()
  })

  it("O7, Q10: a call that arrives while its tenant is suspended runs after it is resumed", async () => {
    const admin = {
      admin: ({ identity }: { readonly identity: { readonly subject: string | null } }) => identity.subject === "admin"
    }
    const app = await timed(first, () => ({ after: [1000] }), { tenants: Tenants.registry(admin) })
    const registry = clientOf(app, "~tenants", "admin")
    // Its second object: the name of an object is not that of its tenant.
    for (const _ of [1, 2]) {
      await registry.value("tenants.create", { name: "jobs-away" })
      if (_ === 1) await registry.value("tenants.delete", { name: "jobs-away" })
    }
    const { texts, value } = clientOf(app, "jobs-away")
    await value("task", { texts: ["away"] })
    await app.pass(0)
    expect(app.broker.taken).toMatchObject([{ tenant: "jobs-away", object: expect.stringContaining("jobs-away~") }])
    await registry.value("tenants.suspend", { name: "jobs-away" })
    app.logged()
    await app.pass(10_000)
    expect(app.logged()).toContain("a tenant that is away")
    await app.pass(600_000)
    expect(ran).not.toContain("away")
    await registry.value("tenants.resume", { name: "jobs-away" })
    await app.pass(10_000)
    expect(await texts()).toEqual(["away"])
    await app.close()
  })

  it("Q10: messages that are too large for one answer of the object are handled one after the other, or rejected", async () => {
    const small = { ...first, limits: { ...first.limits, resultBytes: 4_000 } }
    const app = await timed(small as typeof first)
    const { jobs, texts, value } = clientOf(app, "jobs-small")
    const batch = ["a", "b", "c"].map((text) => text.repeat(900))
    await value("group", { texts: batch })
    await app.pass(5_000)
    expect(await jobs()).toEqual([])
    expect((await texts()).map((text) => text.length)).toEqual([900, 900, 900])
    await value("task", { texts: ["x".repeat(2_000)] })
    await app.pass(1_000)
    expect(await jobs("failed")).toMatchObject([{ attempts: 1, reason: { kind: "payload" } }])
    await app.close()
  })

  it("Q12: what no object has sent is dropped with a line in the log, and makes no database", async () => {
    const { broker, logged, object, pass, tenant, text, texts, value } = await started()
    await value("add", { text })
    await pass(10_000)
    await object.evict()
    const { starts } = object
    const call = { tenant, queue: "tasks", call: "1.a" }
    for (const body of [
      null,
      "text",
      7,
      [],
      {},
      { ...call, tenant: 7 },
      { tenant, queue: "tasks" },
      { ...call, queue: "none" },
      { ...call, queue: "__proto__" },
      { ...call, tenant: "" },
      { ...call, tenant: "~tenants" },
      { ...call, object: "~tenants" },
      { ...call, object: "~system" },
      { ...call, object: "" }
    ]) {
      logged()
      broker.deliver(body)
      await pass(10_000)
      expect([body, logged().split("a queue delivered").length - 1]).toEqual([body, 1])
    }
    expect(object.starts).toBe(starts)
    // A call that this object does not have, and one of an object that nobody has written to.
    for (const name of [tenant, "jobs-none", "jobs-none~2"]) {
      logged()
      broker.deliver({ ...call, object: name })
      await pass(10_000)
      expect([name, logged().split("a queue delivered").length - 1]).toEqual([name, 1])
    }
    expect(await texts()).toEqual([text])
  })

  it("Q12: a call of an object that nobody has written to leaves no table there", async () => {
    const app = await started()
    const nobody = app.objectOf("jobs-none")
    const tables = () => nobody.database.prepare("SELECT name FROM sqlite_master").all()
    app.broker.deliver({ tenant: "jobs-none", queue: "tasks", call: "1.a" })
    await app.pass(0)
    expect(nobody.starts).toBe(1)
    expect(tables()).toEqual([])
    // The control: a mutation that finds nothing creates the tables.
    await clientOf(app, "jobs-none").value("cancel", { id: "1" })
    expect(tables()).not.toEqual([])
  })

  it("Q12: a call whose object cannot be reached is delivered again, and not for ever", async () => {
    const { begun, broker, object, pass, tenant, text, texts, value } = await started(() => ({ after: [100] }))
    await value("task", { texts: [text] })
    await pass(0)
    let failing = 2
    const { call } = object.stub
    vi.spyOn(object.stub, "call").mockImplementation((...args) =>
      failing-- > 0 ? Promise.reject(new Error("reset")) : call(...args)
    )
    await pass(100)
    expect(begun()).toBe(0)
    await pass(5_000)
    expect([begun(), await texts()]).toEqual([1, [text]])
    failing = Number.POSITIVE_INFINITY
    const { calls } = vi.mocked(object.stub.call).mock
    const before = calls.length
    broker.deliver({ tenant, queue: "tasks", call: "2.a" })
    await pass(60_000)
    expect(calls.length - before).toBe(4)
  })
})
