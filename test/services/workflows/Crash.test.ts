/// <reference types="node" />
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { TransactionWorkflows } from "../../../src/services/workflows/TransactionWorkflows.ts"
import { sixthOf, Violation } from "../../random.ts"
import { app } from "../../worker/flows.ts"
import { world } from "../../worker/work.ts"
import { type CrashPoint, crashAtEach, type Moments, type Run, withObject } from "../jobs/crashes.ts"
import { watchDigests } from "./digests.ts"

/** Workflows, repeated with a crash at each moment at which the object can crash. */

/** The rows of a table of an object, read without waking it. */
const rows = (run: Pick<Run, "object">, table: string): ReadonlyArray<any> => {
  const { database } = run.object
  const exists = database.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table)
  return exists === undefined ? [] : database.prepare(`SELECT * FROM ${table}`).all()
}
const executions = (run: Run) => rows(run, "_dormouse_workflows")
const steps = (run: Run) => rows(run, "_dormouse_workflow_steps")

/** What each workflow of the script must end with. */
const expected: Readonly<Record<string, RegExp>> = {
  slept: /"Success","value":"slept: 1 0 #\d+"/,
  flaky: /"Success","value":"flaky: 3 7 #\d+"/,
  self: /"Success","value":"self: 1 5 #\d+"/,
  poor: /"Fail","error":\{"_tag":"Declined","text":"poor"\}/,
  stopped: /"Interrupt"/,
  family: /"Success","value":"family child: 1 0 #\d+"/,
  "family child": /"Success","value":"family child: 1 0 #\d+"/
}
/** Which of them compensate. */
const compensating = ["poor", "stopped"]

/** Calls until it was answered: a client would send it again. */
const insist = async ({ call, pass }: Run, tag: string, payload: unknown): Promise<void> => {
  for (let n = 0; n < 3; n++) {
    if (await call(tag, payload)) return
    await pass(0)
  }
  throw new Violation(`${tag} is not answered`)
}

const script = async (run: Run): Promise<void> => {
  await insist(run, "order", { text: "slept", sleep: 5000 })
  await insist(run, "order", { text: "flaky", sleep: 3_600_000 })
  await run.pass(100)
  await insist(run, "order", { text: "poor", sleep: 0 })
  await insist(run, "order", { text: "self", sleep: 3_600_000 })
  await insist(run, "order", { text: "stopped", sleep: 3_600_000 })
  await insist(run, "familyHere", { text: "family" })
  await run.pass(1000)
  await insist(run, "pay", { text: "flaky", sleep: 0, amount: 7 })
  await insist(run, "pay", { text: "flaky", sleep: 0, amount: 8 })
  await insist(run, "interruptOrder", { text: "stopped" })
  await run.pass(1000)
}

/** Runs the script with a crash at a moment, and checks each execution and what was recorded of it. */
const runWith = async (point?: CrashPoint): Promise<Moments> => {
  let moments: Moments | undefined
  await withObject(app, point, async (made) => {
    const pass = async (millis: number) => {
      await made.pass(millis)
      await settled()
    }
    const run = { ...made, pass }
    const recorded = new Map<string, string>()
    const wrong: Array<string> = []
    const look = () => {
      for (const { execution, exit, name } of steps(run)) {
        if (exit === null) continue
        const before = recorded.get(`${execution} ${name}`)
        if (before !== undefined && before !== exit) wrong.push(`${name} was recorded as ${before} and as ${exit}`)
        recorded.set(`${execution} ${name}`, exit)
      }
    }
    const { exec } = run.object.database
    run.object.database.exec = (sql) => {
      exec.call(run.object.database, sql)
      if (sql === "COMMIT") look()
    }
    const { begin } = world
    // What an activity adds is named by its order and by itself.
    world.begin = (text) => {
      look()
      const [, order, name, attempt = "1"] = /^(.*) (\w+?)(?: (\d))?$/.exec(text)!
      const execution = executions(run).find(({ payload }) => JSON.parse(payload).text === order)
      const isRecorded = recorded.has(`${execution?.id} activity ${attempt} ${name}`)
      if (isRecorded) wrong.push(`${text} runs again, and has a result`)
      if (execution?.state === "done") wrong.push(`${text} runs, and its execution is done`)
      return begin(text)
    }
    await script(run)
    // A run that was cut is taken up 10 s after its timeout.
    const waiting = () => rows(run, "_dormouse_outbox").filter(({ state }) => state !== "done")
    const isOpen = () => executions(run).some(({ state }) => state !== "done") || waiting().length > 0
    for (let second = 0; second < 90 && isOpen(); second++) await run.pass(1000)
    for (const { payload, result, runs, state } of executions(run)) {
      const { text } = JSON.parse(payload)
      if (state !== "done") wrong.push(`${text} is ${state} after ${runs} runs`)
      else if (!expected[text]!.test(result)) wrong.push(`${text} ended with ${result}`)
    }
    const found = executions(run).map(({ payload }) => JSON.parse(payload).text)
    const missing = Object.keys(expected).filter((text) => !found.includes(text))
    if (missing.length > 0) wrong.push(`not there: ${missing}`)
    const counts = run.begun
    for (const text of found) {
      const released = counts.get(`${text} release`) ?? 0
      const crashes = run.crashes() + (point?.at === "before commit" ? 1 : 0)
      const { id } = executions(run).find(({ payload }) => JSON.parse(payload).text === text)
      // A request to end may come before anything has a result.
      const isDone = recorded.has(`${id} activity 1 reserve`)
      if (!isDone && text !== "stopped" && text !== "family") wrong.push(`${text} has not reserved`)
      const isRight = compensating.includes(text) && isDone ? released >= 1 && released <= 1 + crashes : released === 0
      if (!isRight) wrong.push(`${text} was compensated ${released} times`)
      const reserved = counts.get(`${text} reserve`) ?? counts.get(`${text} before`) ?? 0
      if (reserved > 1 + crashes) wrong.push(`${text} was begun ${reserved} times`)
    }
    const left = [...steps(run), ...waiting()]
    if (left.length > 0) wrong.push(`left: ${JSON.stringify(left)}`)
    if (wrong.length > 0) throw new Violation(wrong.join("; "))
    moments = run.moments
  })
  return moments!
}

let settled: () => Promise<void>
beforeEach(() => {
  settled = watchDigests()
})
afterEach(() => vi.restoreAllMocks())

describe("a crash at each moment", () => {
  it("W2, W3, W6, W8, W9: each execution ends as it must, from what was recorded, and nothing is left", async () => {
    expect(await crashAtEach(runWith, sixthOf)).toBeGreaterThan(35)
  })
})

describe("control: the crashes detect", () => {
  const finds = (what: RegExp) => expect(crashAtEach(runWith)).rejects.toThrow(what)
  // Methods that are private, and so not in the type.
  const workflows: any = TransactionWorkflows.prototype

  it("W2: a result that replaces the one before", async () => {
    vi.spyOn(workflows, "insertStep").mockImplementation(function (this: any, ...step: ReadonlyArray<any>) {
      const sql =
        "INSERT INTO _dormouse_workflow_steps (execution, name, exit, entry) VALUES (?, ?, ?, ?) " +
        "ON CONFLICT DO UPDATE SET exit = excluded.exit"
      this.write(step[0], sql, step)
      return true
    })
    await finds(/recorded as/)
  })

  it("W3: a wake that is forgotten while the execution runs", async () => {
    const { wake } = workflows
    vi.spyOn(workflows, "wake").mockImplementation(function (this: any, id, ...how) {
      return this.find(id)?.state === "suspended" && wake.call(this, id, ...how)
    })
    await finds(/is (suspended|running)/)
  })

  it("W13: clocks that stay", async () => {
    vi.spyOn(workflows, "deleteSteps").mockImplementation(() => {})
    await finds(/left/)
  })
})
