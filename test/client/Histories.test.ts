import { describe, expect, it } from "vitest"
import { forAllAsync, isLong, runMore, Violation } from "../random.ts"
import { type Options, run } from "./histories.ts"
import type { Tally } from "./users.ts"

/** Seeds that once found a bug, besides those of each run. */
const kept = [5, 1021, 2727]

describe("C5 C6 C7 C8 C9: random histories", () => {
  const tally: Tally = {}
  const runs = 75

  it.each(kept)("seed %i", (seed) => run(seed, {}))

  it("at random", () => forAllAsync(runs, (_, seed) => run(seed, tally)), isLong ? 3_600_000 : 600_000)

  it("cover every kind of event, outcome and message", async () => {
    const events = [
      "mutate",
      "watch",
      "unwatch",
      "cut",
      "cutClient",
      "silence",
      "offline",
      "evict",
      "crash",
      "interrupt"
    ]
    const outcomes = ["done", "failed", "unknown", "defect", "interrupted"]
    const messages = ["Patch", "Snapshot", "Current", "Delivered", "sent by socket", "sent again"]
    const rare = () => [...events, ...outcomes, ...messages].filter((name) => (tally[name] ?? 0) < 10)
    // In one history of eight an outcome stays unknown: the seeds above may have too few.
    await runMore(
      [runs, 600],
      () => rare().length > 0,
      (_, seed) => run(seed, tally)
    )
    console.info(tally)
    expect(rare()).toEqual([])
  })
})

describe("control: the histories detect", () => {
  // Which of the checks fails first depends on the seed.
  const finds = (options: Options) =>
    expect(forAllAsync(1000, (_, seed) => run(seed, {}, options))).rejects.toThrow(Violation)

  const messagesOf = (data: string): ReadonlyArray<any> => [JSON.parse(data)].flat()
  const text = (messages: ReadonlyArray<unknown>) => (messages.length === 0 ? [] : [JSON.stringify(messages)])

  it("a server that forgets the outcomes of mutations", async () => {
    const sabotageStep: Options["sabotageStep"] = ({ database, starts }) => {
      const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_mutations'").get()
      if (starts > 0 && table !== undefined) database.exec("DELETE FROM _dormouse_mutations")
    }
    await finds({ sabotageStep })
  })

  it("a client that does not learn that a commit was delivered", async () => {
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => text(messagesOf(data).filter(({ _tag }) => _tag !== "Delivered"))
    }
    await finds({ sabotage })
  })

  it("a client that learns too early that a commit was delivered", async () => {
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) =>
        text(
          messagesOf(data).flatMap((message) =>
            message._tag === "Committed" ? [message, { _tag: "Delivered", version: message.version }] : [message]
          )
        )
    }
    await finds({ sabotage })
  })

  it("a server that sends the changes of one commit in several messages", async () => {
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => messagesOf(data).map((message) => JSON.stringify(message))
    }
    await finds({ sabotage })
  })

  it("a server that reports changed values as unchanged", async () => {
    const current = (message: any) =>
      message._tag === "Chunk" && message.values[0]._tag === "Patch"
        ? { ...message, values: [{ _tag: "Current", version: message.values[0].version }] }
        : message
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => text(messagesOf(data).map(current))
    }
    await finds({ sabotage })
  })
})
