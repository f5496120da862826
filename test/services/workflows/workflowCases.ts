import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Deployment, newTenant, post, request } from "../../deployment/Deployment.ts"

/** Workflows of the app in `flows.ts`, in memory and in workerd. */

/** A deployment in which time passes. */
export interface Timed extends Deployment {
  /** Resolves when so many milliseconds have passed. What follows from that may still happen. */
  readonly pass: (millis: number) => Promise<void>
  /** Starts the object of a tenant again, with another version of the app. */
  readonly deploy: (tenant: string, version: "first" | "second") => Promise<Pick<Deployment, "fetch">>
  readonly close?: () => Promise<void>
}

/** What a client in the name of a subject does with a tenant. */
export const clientOf = (deployment: Pick<Deployment, "fetch">, tenant: string, subject = "ada") => {
  const call = async (tag: string, payload: unknown = {}): Promise<any> => {
    const headers = { authorization: `Bearer ${Auth.testToken({ subject })}` }
    const response = await post(deployment as Deployment, tenant, JSON.stringify(request("1", tag, payload)), headers)
    const messages = (await response.json()) as ReadonlyArray<any>
    if (!Array.isArray(messages)) return { status: response.status }
    return messages.find(({ _tag }) => _tag === "Exit").exit
  }
  const value = async (tag: string, payload: unknown = {}) => {
    const exit = await call(tag, payload)
    if (exit?._tag !== "Success") throw new Error(JSON.stringify(exit))
    return exit.value
  }
  return {
    call,
    value,
    texts: async (): Promise<ReadonlyArray<string>> => (await value("lines")).map(({ text }: any) => text),
    order: (text: string, sleep = 300): Promise<string> => value("order", { text, sleep }),
    result: (id: string): Promise<any> => value("result", { id }),
    execution: (id: string): Promise<any> => value("execution", { id })
  }
}

export const suite = (name: string, here: () => Promise<Timed>) =>
  describe(name, () => {
    let app: Timed
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = (subject?: string, tenant = newTenant("flows")) => ({ ...clientOf(app, tenant, subject), tenant })
    /** Passes time until a condition holds. */
    const eventually = async <A>(read: () => Promise<A>, expected: unknown, step = 100): Promise<void> => {
      let isFirst = true
      const later = async () => {
        if (!isFirst) await app.pass(step)
        isFirst = false
        return read()
      }
      await expect.poll(later).toEqual(expected)
    }
    const until = (read: () => Promise<any>, expected: any) => eventually(async () => (await read())?.state, expected)

    /** A result without what is different in each run. */
    const exitOf = async (read: () => Promise<any>) => String((await read()).exit).replace(/ #\d+$/, "")

    it("W1: an execution is there if and only if its mutation committed, and once for its key", async () => {
      const { call, order, result, texts, value } = open()
      expect((await call("order", { text: "no", sleep: 0, fails: true }))._tag).toBe("Failure")
      const id = await order("one")
      expect(await order("one", 1)).toBe(id)
      expect(await value("orderNow", { text: "one", sleep: 2 })).toBe(id)
      await until(() => result(id), "done")
      expect(await exitOf(() => result(id))).toBe("one: 1 0")
      // Also when it is done.
      expect(await order("one")).toBe(id)
      expect(await texts()).toEqual(["one reserve", "one charge 1", "one ship"])
      expect(await value("executions", { state: "done" })).toMatchObject([{ id, runs: 2 }])
      expect(await value("executions")).toEqual([])
    })

    it("W1: an action starts by Effect's own function, and can wait for the result", async () => {
      const { call, value } = open()
      const waiting = value("orderAndWait", { text: "now", sleep: 200 })
      let ended: unknown
      void waiting.then((value) => {
        ended = value
      })
      await eventually(async () => String(ended).replace(/#\d+$/, ""), "now: 1 0 ")
      const failing = call("orderAndWait", { text: "poor", sleep: 200 })
      let failed: any
      void failing.then((exit) => {
        failed = exit
      })
      await eventually(async () => failed?.cause?.[0]?.error, { _tag: "Declined", text: "poor" })
    })

    it("W1: a transaction cannot wait for the digest of Effect's own function, and a query starts nothing", async () => {
      const { call, order, result, value } = open()
      expect((await call("executeHere", { text: "here" }))._tag).toBe("Failure")
      expect((await call("startHere", { text: "here" }))._tag).toBe("Failure")
      expect(await value("executions")).toEqual([])
      // `Workflows.start` computes the same id: the two are one execution.
      const id = await order("same")
      expect(await value("orderNow", { text: "same", sleep: 0 })).toBe(id)
      await until(() => result(id), "done")
    })

    it("W2: what failed is tried again as the workflow says, and each attempt is recorded", async () => {
      const { order, result, texts } = open()
      const id = await order("flaky")
      await until(() => result(id), "done")
      expect(await exitOf(() => result(id))).toBe("flaky: 3 0")
      expect(await texts()).toEqual([
        "flaky reserve",
        ...["flaky charge 1", "flaky charge 2", "flaky charge 3"],
        "flaky ship"
      ])
    })

    it("W3, W5: it sleeps and goes on across an eviction at each wait", async () => {
      const { execution, order, result, tenant, value } = open()
      const start = (await value("lines")).length
      expect(start).toBe(0)
      // On a busy machine it may go on before it is looked at: then another one sleeps for longer.
      let sleep = 250
      let text: string
      let id: string
      let evicted: any
      do {
        sleep *= 4
        text = `sleepy ${sleep}`
        id = await order(text, sleep)
        await eventually(async () => /suspended|done/.test((await execution(id)).state), true)
        await app.evict(tenant)
        evicted = await execution(id)
      } while (sleep < 16_000 && evicted.state !== "suspended")
      expect(evicted).toMatchObject({ state: "suspended", runs: 1, activities: 2 })
      await app.evict(tenant)
      await eventually(async () => (await result(id)).state, "done", sleep / 10)
      const own = (await value("lines")).filter((line: any) => line.text.startsWith(`${text} `))
      const [reserve, , ship] = own
      expect(ship.at - reserve.at).toBeGreaterThanOrEqual(sleep)
      expect(own.map(({ text }: any) => text)).toEqual([`${text} reserve`, `${text} charge 1`, `${text} ship`])
      await app.evict(tenant)
      expect(await exitOf(() => result(id))).toBe(`${text}: 1 0`)
    })

    it("W6: a deferred is completed by a mutation, once, also before anybody waits", async () => {
      const { execution, order, result, tenant, value } = open()
      const id = await order("paid", 3_600_000)
      await until(() => execution(id), "suspended")
      await app.evict(tenant)
      await value("pay", { text: "paid", sleep: 0, amount: 7 })
      await value("pay", { text: "paid", sleep: 0, amount: 8 })
      await until(() => result(id), "done")
      expect(await exitOf(() => result(id))).toBe("paid: 1 7")
      await value("pay", { text: "early", sleep: 0, amount: 9 })
      const early = await order("early", 3_600_000)
      await until(() => result(early), "done")
      expect(await exitOf(() => result(early))).toBe("early: 1 9")
    })

    it("W6: a completion while the code runs is not lost", async () => {
      const { order, result } = open()
      const id = await order("self", 3_600_000)
      await until(() => result(id), "done")
      expect(await exitOf(() => result(id))).toBe("self: 1 5")
    })

    it("W10: a workflow that the app does not have is kept as failed, and goes on when it is resumed", async () => {
      const { execution, order, tenant } = open()
      const id = await order("later", 60_000)
      await until(() => execution(id), "suspended")
      const second = await app.deploy(tenant, "second")
      const later = clientOf(second, tenant)
      await later.value("pay", { text: "later", sleep: 0, amount: 3 })
      await eventually(async () => (await later.execution(id)).state, "failed")
      expect(await later.execution(id)).toMatchObject({
        reason: { kind: "rejected", detail: "the app has no workflow Order" }
      })
      expect(await later.value("executions", { state: "failed" })).toMatchObject([{ id }])
      expect(await later.value("executions", { state: "running" })).toEqual([])
      expect(await later.value("resume", { id })).toBe(true)
      await eventually(async () => (await later.execution(id)).state, "failed")
      const first = clientOf(await app.deploy(tenant, "first"), tenant)
      expect(await first.value("resume", { id })).toBe(true)
      await eventually(async () => (await first.result(id)).state, "done")
      expect(await exitOf(() => first.result(id))).toBe("later: 1 3")
      expect((await first.texts()).filter((text) => text.includes("reserve"))).toEqual(["later reserve"])
    })

    it("W7: failures and defects are typed exits, also of a child, and Effect's own poll reads them", async () => {
      const { order, result, value } = open()
      const [poor, dead] = [await order("poor"), await order("die")]
      await until(() => result(poor), "done")
      await until(() => result(dead), "done")
      expect(await exitOf(() => result(poor))).toContain("Declined")
      expect(await exitOf(() => result(dead))).toContain("die died")
      expect(await value("polled", { id: poor })).toBe("Complete")
      expect(await value("polled", { id: "none" })).toBe("None")
      for (const [text, end] of [
        ["kids", "kids child: 1 0"],
        ["poor kids", "declined"]
      ] as const) {
        const id = await value("family", { text })
        await until(() => result(id), "done")
        expect(await exitOf(() => result(id))).toBe(end)
      }
    })

    it("W7: a live query is sent the result", async () => {
      const { order, tenant } = open()
      const id = await order("live", 300)
      const peer = await app.connect(tenant)
      const request = peer.ask("live:result", { id })
      await eventually(async () => {
        peer.send({ _tag: "Ack", requestId: request })
        return JSON.stringify(peer.items(request)).includes("live: 1 0")
      }, true)
      peer.close()
    })

    it("W8: a failure compensates what was done, the last first", async () => {
      const { execution, order, result, texts, value } = open()
      const id = await order("refused", 3_600_000)
      await until(() => execution(id), "suspended")
      await value("refuse", { text: "refused", sleep: 0 })
      await until(() => result(id), "done")
      expect(await exitOf(() => result(id))).toContain("Declined")
      expect(await texts()).toEqual(["refused reserve", "refused charge 1", "refused release"])
    })

    it("W8: a request to end compensates, begins nothing new, and is the result", async () => {
      const { execution, order, result, tenant, texts, value } = open()
      const id = await order("stopped", 3_600_000)
      await until(() => execution(id), "suspended")
      await app.evict(tenant)
      expect(await value("interrupt", { id })).toBe(true)
      await until(() => result(id), "done")
      expect(await texts()).toEqual(["stopped reserve", "stopped charge 1", "stopped release"])
      expect(await exitOf(() => result(id))).toMatch(/interrupt/i)
      expect(await execution(id)).toMatchObject({ state: "done", isInterrupted: true })
      // What is done stays as it is.
      expect(await value("interrupt", { id })).toBe(false)
      expect(await value("resume", { id })).toBe(false)
      expect(await value("interrupt", { id: "none" })).toBe(false)
    })

    it("W11: activities call in the name of the caller, and clients cannot call the engine", async () => {
      const { call, execution, order, result, tenant, value } = open("grace")
      const [id, paid] = [await order("mine"), await order("paid", 3_600_000)]
      await until(() => execution(paid), "suspended")
      // Whoever completes a deferred only wakes it.
      await clientOf(app, tenant, "mallory").value("pay", { text: "paid", sleep: 0, amount: 1 })
      await until(() => result(id), "done")
      await until(() => result(paid), "done")
      expect(new Set((await value("lines")).map(({ subject }: any) => subject))).toEqual(new Set(["grace"]))
      for (const tag of ["~workflow.tick", "~workflow.begin", "~workflow.record", "~queue.~workflows"]) {
        const exit = await call(tag, { id, name: "x", exit: null, deferred: "paid", messages: [] })
        expect([tag, exit?.cause?.[0]?.error?.reason?._tag]).toEqual([tag, "UnknownRpc"])
      }
    })

    it("W13: of an execution that is done only the result is left", async () => {
      const { execution, order, result, value } = open()
      const id = await order("clean", 3_600_000)
      await until(() => execution(id), "suspended")
      await value("pay", { text: "clean", sleep: 0, amount: 1 })
      await until(() => result(id), "done")
      expect(await execution(id)).toMatchObject({ state: "done", activities: 0 })
      expect(await value("outbox")).toEqual([])
      expect(await value("discard", { id })).toBe(true)
      expect(await execution(id)).toBe(null)
      // Its key is free.
      expect(await order("clean", 0)).toBe(id)
      await until(() => result(id), "done")
    })
  })
