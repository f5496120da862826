/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { expect } from "vitest"
import { post, request } from "../deployment/Deployment.ts"
import type { WorkerdProcess } from "../deployment/workerd.ts"
import { Random, startSeed, Violation } from "../random.ts"
import { compare, countOf, job } from "../services/jobs/crashes.ts"
import type { What } from "../worker/work.ts"

/** Jobs and messages in a workerd that is killed while clients schedule them and while they run. Its database stays on disk. */

/** The module of a Worker that is run in a process of its own. */
export const entryOf = (name: string) => fileURLToPath(new URL(`../worker/process/${name}.ts`, import.meta.url))
const clients = 4
const kinds: ReadonlyArray<What> = ["add", "fail", "act", "actFail", "message", "flaky"]
/** Actions and messages that run at the same time. */
const concurrency = 16 + 2

/** Kills a process so often, and compares what ran with what was scheduled. Throws a `Violation` when it does not fit. */
export const killOften = async (kills: number, start: () => Promise<WorkerdProcess>): Promise<void> => {
  const random = new Random(startSeed())
  const workerd = await start()
  const send = async (tag: string, payload: unknown): Promise<any> => {
    const response = await post(workerd.deployment, "killed", JSON.stringify(request("1", tag, payload)))
    const messages = (await response.json()) as ReadonlyArray<any>
    return messages.find(({ _tag }) => _tag === "Exit").exit
  }
  const read = async (tag: string): Promise<ReadonlyArray<any>> => {
    const exit = await send(tag, {})
    if (exit._tag !== "Success") throw new Error(JSON.stringify(exit))
    return exit.value
  }
  /** The texts of jobs that a client was told are scheduled. */
  const answered: Array<string> = []
  /** Those of them that are mutations. */
  const mutations: Array<string> = []
  let sent = 0
  let isWriting = true
  const write = async () => {
    for (let _n = 0; isWriting; _n++) {
      const jobs = random.array(3, (i) => job(random.pick(kinds), `${++sent} ${i}`, random.int(300)))
      const cancelled = random.chance(0.3) && mutations.length > 0 ? random.pick(mutations.slice(-10)) : undefined
      try {
        const exit = await send("plan", { jobs })
        if (exit._tag === "Success") {
          answered.push(...jobs.map(({ text }) => text))
          // An action can have begun before it is cancelled, between two attempts.
          mutations.push(...jobs.filter(({ what }) => what === "add" || what === "fail").map(({ text }) => text))
        }
        if (cancelled !== undefined) await send("cancel", { text: cancelled })
      } catch {
        // The process was killed: nobody knows whether it has committed.
        return
      }
    }
  }
  try {
    for (let kill = 0; kill < kills; kill++) {
      isWriting = true
      const writers = Array.from({ length: clients }, write)
      const enough = answered.length + 20 + random.int(60)
      await expect.poll(() => answered.length, { interval: 1 }).toBeGreaterThanOrEqual(enough)
      await workerd.kill()
      isWriting = false
      await Promise.all(writers)
      await workerd.start()
    }
    // What was cut is taken up again when its time is over.
    await expect.poll(() => read("jobs"), { timeout: 240_000, interval: 200 }).toEqual([])
    const [planned, lines, failed] = [await read("planned"), await read("lines"), await read("failed")]
    const begun = countOf(lines.filter(({ event }) => event === "began"))
    compare({
      planned,
      ran: countOf(lines.filter(({ event }) => event === "ran")),
      begun,
      failed: countOf(failed.map(({ payload }) => payload)),
      crashes: kills
    })
    const missing = answered.filter((text) => !planned.some((row) => row.text === text))
    if (missing.length > 0) throw new Violation(`answered, and not scheduled: ${missing}`)
    const again = [...begun.values()].reduce((sum, count) => sum + count - 1, 0)
    const flaky = planned.filter(({ what }) => what === "flaky").length
    expect(again).toBeLessThanOrEqual(flaky + kills * concurrency)
    const cut = failed.filter(({ reason }) => reason.kind === "cut").length
    console.info(`${planned.length} jobs, ${again} began again, ${cut} were cut`)
    // The test is about something: much was scheduled, and something was cut.
    expect(planned.length).toBeGreaterThan(kills * 5)
    expect(cut).toBeGreaterThan(0)
  } finally {
    await workerd.close()
  }
}
