import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Jobs } from "effect-dormouse/jobs"
import { afterEach, describe, expect, it, vi } from "vitest"
import { anonymous } from "../../../src/contract/Auth.ts"
import { OutboxWriter } from "../../../src/contract/Outbox.ts"
import * as CloudflareAlarm from "../../../src/layers/cloudflare/Alarm.ts"
import { Deliveries } from "../../../src/services/outbox/Deliveries.ts"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import type { MemoryObject } from "../../../src/testing/MemoryObject.ts"
import { turns } from "../../deployment/memory.ts"
import { sixthOf } from "../../random.ts"
import * as JobsApp from "../../worker/jobs.ts"
import { app, quietApp, withoutQueue } from "../../worker/work.ts"
import {
  type CrashPoint,
  check,
  checkBeats,
  crashAtEach,
  deploy,
  job,
  type Moments,
  type Run,
  rows,
  untilQuiet,
  withObject
} from "./crashes.ts"

/** A small workload, repeated with a crash at each moment at which it can crash. The script itself crashes it once. */

const script = async ({ call, object, pass }: Run): Promise<void> => {
  await call("plan", {
    jobs: [
      job("add", "now", 0),
      job("add", "soon", 1000),
      job("add", "cancelled", 5000),
      job("add", "postponed", 4000),
      job("late", "late", 500),
      job("fail", "fail", 500),
      job("act", "act", 0),
      job("actFail", "actFail", 200),
      job("actAgain", "actAgain", 200)
    ]
  })
  await call("planNot", { jobs: [job("add", "not", 0), job("act", "act not", 0), job("message", "message not", 0)] })
  await pass(100)
  await call("plan", {
    jobs: [
      job("message", "message", 0),
      job("flaky", "flaky", 0, "key"),
      job("message", "behind", 0, "key"),
      job("add", "first", 400, "key"),
      job("add", "second", 0, "key")
    ]
  })
  await call("cancel", { text: "cancelled" })
  await call("postpone", { text: "postponed", due: 6000 })
  await pass(400)
  await call("plan", {
    jobs: [
      job("cancelJob", "cancel other", 700),
      job("postponeJob", "postpone another", 700),
      job("add", "other", 700),
      job("add", "another", 700),
      ...Array.from({ length: 12 }, (_, i) => job("add", `burst ${i}`, 300))
    ]
  })
  await pass(500)
  await object.crash()
  await pass(500)
}

/** Runs the workload with a crash at a moment, and checks what it has done. */
const runWith = async (point?: CrashPoint, hasBroker = false): Promise<Moments> => {
  let moments: Moments | undefined
  const workload = async (run: Run) => {
    await script(run)
    await untilQuiet(run, hasBroker ? 200 : 60)
    check(run, 1 + run.crashes() + (point?.at === "before commit" ? 1 : 0))
    await run.pass(20_000)
    checkBeats(run)
    moments = run.moments
  }
  await withObject(app, point, workload, hasBroker ? () => ({}) : undefined)
  return moments!
}

const withBroker = (point?: CrashPoint) => runWith(point, true)

afterEach(() => vi.restoreAllMocks())

describe("a crash at each moment", () => {
  it("J1, J2, J3, J5, Q2, Q4, O1, O2, O3: what was committed runs as often as it may, and nothing else does", async () => {
    expect(await crashAtEach(runWith, sixthOf)).toBeGreaterThan(15)
  })

  it("Q10, Q11, Q2, Q4, O2, O3: also when a broker carries the messages, and what consumes them crashes", async () => {
    expect(await crashAtEach(withBroker, sixthOf)).toBeGreaterThan(15)
  })
})

describe("control: the crashes detect", () => {
  const finds = (what: RegExp, run: typeof withBroker = runWith) => expect(crashAtEach(run)).rejects.toThrow(what)
  // Methods that are private, and so not in the type.
  const deliveries: any = Deliveries.prototype

  it("J2: a mutation whose job ends after its transaction", async () => {
    const { end } = TransactionOutbox.prototype
    const ended = new WeakMap<object, Array<any>>()
    let current: any
    vi.spyOn(TransactionOutbox.prototype, "end").mockImplementation(function (this: any, delivery) {
      if (delivery.lane === "mutations") ended.get(current)!.push(delivery)
      else end.call(this, delivery)
    })
    const { deliverInTurn } = deliveries
    vi.spyOn(deliveries, "deliverInTurn").mockImplementation(function (this: any) {
      const before = ended.get(this) ?? []
      ended.set(this, [])
      current = this
      this.host.turn(() => {
        for (const delivery of before) this.transaction((outbox: any) => end.call(outbox, delivery))
      })
      deliverInTurn.call(this)
    })
    await finds(/"runs":2/)
  })

  it("O1: a delivery that does not wait for the commit of its claim", async () => {
    const { callDue } = deliveries
    vi.spyOn(deliveries, "callDue").mockImplementation(function (this: any, ...args: ReadonlyArray<unknown>) {
      const { host } = this
      this.host = { ...host, defer: (task: () => void) => task() }
      try {
        return callDue.apply(this, args)
      } finally {
        this.host = host
      }
    })
    await finds(/act "act": .*"begins":2/)
  })

  it("O3: a delivery that was cut and is not taken up again", async () => {
    const { claim } = TransactionOutbox.prototype
    vi.spyOn(TransactionOutbox.prototype, "claim").mockImplementation(function (this: any, delivery) {
      return claim.call(this, delivery, Number.MAX_SAFE_INTEGER)
    })
    await finds(/waits for ever/)
  })

  it("Q11: a call that is not sent again when its send was cut", async () => {
    const { write } = TransactionOutbox.prototype
    vi.spyOn(TransactionOutbox.prototype, "write").mockImplementation(function (this: any, sql, params) {
      const [call, wake, id] = params
      if (call === undefined || wake === undefined || id === undefined) return write.call(this, sql, params)
      return write.call(this, sql, sql.includes("SET state = 'sent'") ? [call, Number.MAX_SAFE_INTEGER, id] : params)
    })
    await finds(/waits for ever/, withBroker)
  })

  it("O2: an alarm that is over before what it is for", async () => {
    vi.spyOn(Deliveries.prototype, "wake").mockImplementation(function (this: any) {
      this.alarmAt = undefined
      this.schedule()
    })
    await finds(/waits/)
  })
})

/** Runs a script with an app that crashes at no moment but those of the script. */
const alone = (tested: Parameters<typeof withObject>[0], script: (run: Run) => Promise<void>) =>
  withObject(tested, undefined, script)
const ranIn = (object: MemoryObject<any>, text: string): number =>
  rows(object, "SELECT text FROM lines WHERE event = 'ran'").filter((line) => line.text === text).length
const inOutbox = (object: MemoryObject<any>) =>
  object.database.prepare("SELECT target, state, payload FROM _dormouse_outbox ORDER BY id").all() as ReadonlyArray<any>

describe("the alarm", () => {
  const forgotten = (run: Run) => {
    run.object.alarm.stop()
    return run.object.crash()
  }

  it("O2: an alarm that the platform has lost is set again at the next start", async () => {
    const lose = () =>
      alone(quietApp, async (run) => {
        await run.call("plan", { jobs: [job("add", "one", 60_000)] })
        await forgotten(run)
        await run.call("planned", {})
        await untilQuiet(run, 70)
        check(run, 1)
      })
    await lose()
    // The control: a start that sets none.
    const deliveries: any = Deliveries.prototype
    const { plan } = deliveries
    vi.spyOn(deliveries, "plan").mockImplementation(function (this: unknown, isStart: unknown) {
      if (isStart !== true) plan.call(this)
    })
    await expect(lose()).rejects.toThrow(/waits for ever/)
  })

  it("O2: code that runs beside the calls sets the alarm with its commit", () =>
    alone(quietApp, async ({ call, clock, object, pass }) => {
      await call("plan", { jobs: [] })
      await call("plan", { jobs: [job("add", "late", 100_000)] })
      const { transactor } = await object.engine()
      const entry = { lane: "mutations", target: "add", payload: { text: "beside" }, caller: anonymous, due: 1000 }
      const added = Effect.flatMap(OutboxWriter, ({ add }) => add(entry))
      // The transaction has the service, whatever the type says.
      const write = transactor.write(added) as Effect.Effect<unknown>
      Effect.runSync(Effect.provideService(write, Clock.Clock, clock))
      await object.crash()
      await pass(1000)
      expect(ranIn(object, "beside")).toBe(1)
    }))

  it("O2: the crons of a new tenant begin, also when the object is lost right after the first write", () =>
    withObject(app, { at: "after commit", number: 4 }, async (run) => {
      const { call, crashes, object, pass } = run
      expect(object.database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'planned'").get()).toBeUndefined()
      await call("plan", { jobs: [] })
      expect(crashes()).toBe(1)
      expect(rows(object, "SELECT * FROM _dormouse_crons")).toEqual([])
      await pass(20_000)
      checkBeats(run)
    }))

  it("O2: a start that looks at the alarm does not replace one that is set meanwhile", async () => {
    const set: Array<number> = []
    const work: Array<Promise<unknown>> = []
    const storage = { getAlarm: async () => 1, setAlarm: async (at: number) => void set.push(at) }
    const alarm = CloudflareAlarm.make(storage, (promise) => void work.push(promise))
    alarm.confirm(5000)
    alarm.set(100)
    await Promise.all(work)
    expect(set).toEqual([100])
    alarm.confirm(5000)
    await Promise.all(work.slice())
    expect(set).toEqual([100, 5000])
  })
})

describe("what cannot be written or delivered now", () => {
  it("J3, O1: a delivery whose claim fails does not begin, and is tried again later", () =>
    alone(quietApp, async (run) => {
      const { begun, call, moments, pass } = run
      const { claim } = TransactionOutbox.prototype
      let failing = 3
      vi.spyOn(TransactionOutbox.prototype, "claim").mockImplementation(function (this: any, ...args) {
        if (failing-- > 0) throw new Error("the disk is full")
        return claim.apply(this, args)
      })
      await call("plan", { jobs: [job("act", "act", 0)] })
      const { commits } = moments
      await pass(0)
      // Not again and again without a pause.
      expect(failing).toBe(2)
      expect(moments.commits - commits).toBeLessThan(5)
      expect(begun.size).toBe(0)
      await untilQuiet(run)
      check(run, 0)
    }))

  it("O4: an object that may not deliver sleeps until it may", () =>
    alone(quietApp, async (run) => {
      const { call, moments, object, pass } = run
      await call("plan", { jobs: [job("add", "one", 1000)] })
      const engine: any = await object.engine()
      const { host } = engine.jobs
      engine.jobs.host = { ...host, isOpen: () => false }
      await pass(1000)
      const { commits } = moments
      await pass(60_000)
      expect(moments.commits).toBe(commits)
      engine.jobs.host = host
      engine.alarm()
      await turns()
      expect(ranIn(object, "one")).toBe(1)
    }))
})

describe("a version without the queue", () => {
  it("Q4: its messages are kept as failed, also those that wait for others of their key", () =>
    alone(quietApp, async ({ call, object, pass }) => {
      await call("plan", {
        jobs: ["a", "b", "c"].map((text) => job("message", text, 1000, "key"))
      })
      await deploy(object, withoutQueue)
      await pass(2000)
      expect(inOutbox(object).map(({ state }) => state)).toEqual(["failed", "failed", "failed"])
      await deploy(object, quietApp)
      for (const text of ["a", "b", "c"]) await call("again", { text })
      await pass(2000)
      expect(inOutbox(object)).toEqual([])
      expect(["a", "b", "c"].map((text) => ranIn(object, text))).toEqual([1, 1, 1])
    }))

  it("Q2: a message that was handled stays handled, and its end is not reported again", () =>
    alone(JobsApp.app, async ({ call, object, pass }) => {
      const send = { to: "works", texts: ["one"], id: "name", reports: true }
      const texts = () => object.database.prepare("SELECT text FROM lines ORDER BY id").all()
      await call("send", send)
      await pass(100)
      expect(texts().map(({ text }) => text)).toEqual(["one", "one done"])
      await deploy(object, { ...JobsApp.app, jobs: Jobs.make() })
      await call("lines", {})
      await pass(1000)
      expect(inOutbox(object).map(({ state }) => state)).toEqual(["done"])
      await deploy(object, JobsApp.app)
      await call("send", send)
      await pass(1000)
      expect(texts().map(({ text }) => text)).toEqual(["one", "one done"])
    }))
})
