import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { afterEach, describe, expect, it } from "vitest"
import type { RequestSession } from "../../../src/engine/rpc/SessionHeader.ts"
import { copy, type MemoryDeployment, memory, turns } from "../../deployment/memory.ts"
import { app, options, withoutOrders } from "../../worker/flows.ts"
import { world } from "../../worker/work.ts"
import { clientOf, suite } from "./workflowCases.ts"

/** An app under a clock that the test moves. */
const timed = async (version: typeof app = app) => {
  const deployment = await memory(version as never, options, TestClock.layer())
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
  let current = await timed()
  const all: Array<MemoryDeployment> = [current]
  return {
    ...current,
    pass: async (millis) => {
      for (const { run } of all) await run(TestClock.adjust(millis))
      await turns()
    },
    deploy: async (tenant, version) => {
      const next = await timed(version === "first" ? app : withoutOrders)
      all.push(next)
      await next.pass(await current.now())
      await current.evict(tenant)
      copy(current.object(tenant).database, next.object(tenant).database)
      current = next
      return next
    },
    close: async () => {
      for (const { close } of all) await close()
    }
  }
})

describe("an execution", () => {
  const tenant = "flows-own"
  const started = async () => {
    const deployment = await timed()
    const client = clientOf(deployment, tenant)
    /** Passes time until an execution is in a state. */
    const until = async (id: string, state: string, step = 100) => {
      await expect
        .poll(async () => {
          const execution = await client.execution(id)
          if (execution.state !== state) await deployment.pass(step)
          return execution.state
        })
        .toBe(state)
    }
    return { ...deployment, ...client, until, own: deployment.object(tenant) }
  }

  const { begin } = world
  afterEach(() => {
    world.begin = begin
  })

  it("W4: while it waits, its object sleeps until the clock is due", async () => {
    const { close, evict, order, own, pass, until } = await started()
    const id = await order("one", 1_800_000)
    await until(id, "suspended")
    // The alarm that looks whether what was due has ended.
    await pass(10_000)
    await evict(tenant)
    const { starts } = own
    await pass(1_700_000)
    expect(own.starts).toBe(starts)
    await pass(100_000)
    await expect.poll(() => own.starts).toBe(starts + 1)
    await until(id, "done")
    await close()
  })

  it("W5: a replay does not prolong a sleep", async () => {
    const { close, now, order, pass, until, value } = await started()
    const id = await order("one", 10_000)
    await until(id, "suspended")
    for (let n = 0; n < 4; n++) {
      await pass(2_000)
      expect(await value("resume", { id })).toBe(true)
      await until(id, "suspended", 0)
    }
    await until(id, "done")
    expect(await now()).toBeGreaterThanOrEqual(10_000)
    expect(await now()).toBeLessThan(11_000)
    await close()
  })

  it("W9: a run that hangs is cut after its timeout, and the next one goes on from what was recorded", async () => {
    const { close, execution, order, pass, texts, until } = await started()
    let isHanging = true
    let hanging = 0
    const hang = Effect.andThen(
      Effect.sync(() => void hanging++),
      Effect.never
    )
    world.begin = (text) => (isHanging && text === "one ship" ? hang : Effect.void)
    const id = await order("one", 100)
    await until(id, "suspended", 0)
    await pass(100)
    await expect.poll(() => hanging).toBe(1)
    isHanging = false
    // 20 seconds until it is cut, and 1 second until it goes on.
    await until(id, "done", 250)
    expect(await texts()).toEqual(["one reserve", "one charge 1", "one ship"])
    expect(await execution(id)).toMatchObject({ runs: 3 })
    await close()
  })

  it("W9: what a run that was overtaken writes at its end does not count", async () => {
    const { close, execution, order, own, until, value } = await started()
    world.begin = () => Effect.never
    const id = await order("one", 100)
    await expect.poll(async () => (await execution(id)).runs).toBe(1)
    const session: RequestSession = { tenant, identity: { subject: "ada", claims: {} }, fromAction: true }
    const call = async (tag: string, payload: unknown) => {
      const { body } = await own.stub.call(
        session,
        JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
      )
      return JSON.parse(String(body))[0].exit.value
    }
    const second = await call("~workflow.begin", { id })
    expect(second.run).toBe(2)
    const end = (run: number, text: string) =>
      call("~workflow.end", {
        ...{ id, run, interrupted: 0, isDone: true, isFailed: false },
        result: { _tag: "Complete", exit: { _tag: "Success", value: text } }
      })
    await end(1, "overtaken")
    expect(await execution(id)).toMatchObject({ state: "running" })
    await end(2, "second")
    expect(await value("result", { id })).toEqual({ state: "done", exit: "second" })
    // The control of W11: what no client can call is called by an action.
    expect(await call("~workflow.result", { id })).toMatchObject({ _tag: "Complete" })
    // An activity of the first run has no place for its result any more.
    expect(await call("~workflow.record", { id, name: "activity 1 reserve", exit: null })).toBe(null)
    await until(id, "done")
    await close()
  })

  it("W10: runs that fail again and again are given up, with the reason, and can be resumed", async () => {
    const { close, execution, order, own, until, value } = await started()
    const failing = own.stub.call.bind(own.stub)
    let isBroken = true
    Object.assign(own.stub, {
      call: (session: RequestSession, text: string) =>
        isBroken && text.includes("~workflow.record") ? Promise.reject(new Error("lost")) : failing(session, text)
    })
    const id = await order("one", 0)
    await until(id, "failed", 1000)
    expect(await execution(id)).toMatchObject({ runs: 5, activities: 0, reason: { kind: "failed" } })
    isBroken = false
    expect(await value("resume", { id })).toBe(true)
    await until(id, "done")
    expect(await value("result", { id })).toMatchObject({ state: "done", exit: expect.stringMatching(/^one: 1 0/) })
    await close()
  })

  it("W13: a result is deleted after `keep`, when others end, but not while one that has started it may ask", async () => {
    const { close, now, order, own, pass, texts, until, value } = await started()
    /** Nothing but the long sleep is left: what runs takes real time, and would be cut when much time passes. */
    const settled = () =>
      expect
        .poll(async () => {
          await pass(0)
          return value("outbox")
        })
        .toEqual(["~workflow.tick"])
    const old = await order("old", 0)
    await until(old, "done")
    const family = await value("family", { text: "long" })
    await until(family, "suspended")
    const [child] = (await value("executions")).filter(({ workflow }: any) => workflow === "Order")
    await until(child.id, "done")
    await settled()
    const done = async () => (await value("executions", { state: "done" })).map(({ id }: any) => id)
    expect(await done()).toEqual([old, child.id])
    await pass(90_000_000)
    const next = await order("next", 0)
    await until(next, "done")
    expect(await done()).toEqual([child.id, next])
    await settled()
    const row = own.database.prepare("SELECT due FROM _dormouse_outbox WHERE target = '~workflow.tick'").get()
    await pass(Number(row?.["due"]) - (await now()))
    await until(family, "done", 0)
    expect((await texts()).filter((text) => text.includes("child reserve")).length).toBe(1)
    const last = await order("last", 0)
    await until(last, "done")
    expect(await done()).toEqual([family, next, last])
    await close()
  })
})
