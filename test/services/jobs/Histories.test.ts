import { afterEach, describe, expect, it, vi } from "vitest"
import { Deliveries } from "../../../src/services/outbox/Deliveries.ts"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import { forAllAsync } from "../../random.ts"
import { quietApp } from "../../worker/work.ts"
import { check, job, withObject } from "./crashes.ts"
import { history, type Tally } from "./histories.ts"

/** Random histories of an object with jobs, compared with a plain model: what was scheduled, for when, and what has become of it. */

afterEach(() => vi.restoreAllMocks())

describe("random histories of jobs", () => {
  const tally: Tally = new Map()

  it("J1, J2, J3, J4, J5, J6, Q2, Q4, O2, O3: what was committed runs at its time, as often as it may", async () => {
    await forAllAsync(40, (random) => history(random, tally))
    console.info(tally)
    expect([...tally].filter(([, count]) => count < 5)).toEqual([])
  })
})

describe("a clock that is set back", () => {
  it("J4: does not hold up what is scheduled for now", () =>
    withObject(quietApp, undefined, async (run) => {
      await run.setTime(100_000)
      await run.call("plan", { jobs: [job("add", "before", 0)] })
      await run.pass(0)
      await run.setTime(50_000)
      await run.call("plan", { jobs: [job("add", "now", 0), job("act", "act", 0), job("message", "message", 0)] })
      await run.pass(0)
      check(run, 0)
    }))
})

describe("control: the histories detect", () => {
  const finds = (what: RegExp) =>
    expect(forAllAsync(1000, (random) => history(random, new Map()))).rejects.toThrow(what)

  it("J4: deliveries that look a second ahead", async () => {
    const deliveries: any = Deliveries.prototype
    const { dueIn } = deliveries
    vi.spyOn(deliveries, "dueIn").mockImplementation(function (this: unknown, lane: unknown, now: any, max: unknown) {
      return dueIn.call(this, lane, now + 1000, max)
    })
    await finds(/too early/)
  })

  it("J1: a cancellation that only says so", async () => {
    const outbox: any = TransactionOutbox.prototype
    const { write } = outbox
    vi.spyOn(outbox, "write").mockImplementation(function (this: any, sql: any, params: unknown) {
      const [, condition] = /^DELETE FROM _dormouse_outbox (WHERE .*) RETURNING lane, key$/.exec(sql) ?? []
      if (condition === undefined) return write.call(this, sql, params)
      return this.tx.query(`SELECT lane, key FROM _dormouse_outbox ${condition}`, params)
    })
    await finds(/cancelled/)
  })

  it("O3: a delivery that was cut and is not taken up again", async () => {
    const { claim } = TransactionOutbox.prototype
    vi.spyOn(TransactionOutbox.prototype, "claim").mockImplementation(function (this: any, delivery) {
      return claim.call(this, delivery, Number.MAX_SAFE_INTEGER)
    })
    await finds(/waits for ever/)
  })
})
