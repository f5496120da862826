import * as Effect from "effect/Effect"
import { describe, expect, it } from "vitest"
import { forAllAsync, isLong, runMore, Violation } from "../random.ts"
import { run, type Sabotage, type Tally } from "./outboxHistories.ts"

describe("C12: the outbox at random", () => {
  const tally: Tally = {}
  const runs = 20

  it(
    "every mutation that was stored runs once or is reported",
    () => forAllAsync(runs, (_, seed) => run(seed, tally)),
    isLong ? 1_800_000 : 600_000
  )

  it("covers every kind of event and outcome", async () => {
    const events = [
      "mutate",
      "sleep",
      "clock",
      "cut",
      "device",
      "refuse",
      "storage",
      "evict",
      "interrupt",
      "open",
      "kill"
    ]
    const outcomes = ["done", "failed", "unknown", "pending", "interrupted"]
    const rare = () => [...events, ...outcomes].filter((name) => (tally[name] ?? 0) < 5)
    // About one history in ten has a mutation whose outcome stays unknown: the seeds above may have too few.
    await runMore(
      [runs, 400],
      () => rare().length > 0,
      (_, seed) => run(seed, tally)
    )
    console.info(tally)
    expect(rare()).toEqual([])
  }, 600_000)
})

describe("control: the histories of the outbox detect", () => {
  // Few histories meet what is broken here: the controls have seeds of their own, among which some do.
  const finds = async (sabotage: Sabotage) => {
    const all = async () => {
      for (let seed = 240; seed < 300; seed++) await run(seed, {}, sabotage)
    }
    await expect(all()).rejects.toThrow(Violation)
  }

  it("ages by the clock of the device", () => finds({ time: (device) => Math.max(0, device) }))

  it("a storage that shows a page only one entry", () =>
    finds({
      storage: (storage) => ({
        ...storage,
        entries: Effect.map(storage.entries, (entries) => entries.slice(1)),
        remove: () => Effect.void
      })
    }))
})
