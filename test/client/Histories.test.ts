/// <reference types="node" />
import { describe, expect, it } from "vitest"
import { type Options, run, type Tally } from "./histories.ts"

/** Seeds that once found a bug. */
const kept = [5, 1021, 2727]

/** The first seed. `SEED=<seed>` repeats a run that failed. */
const first = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000)
const parts = 4
const perPart = process.env["SEED"] === undefined ? 500 : 1

describe("C5 C6 C7 C8 C9: random histories", () => {
  const tally: Tally = {}

  it.each(kept)("seed %i", (seed) => run(seed, {}))

  it.each(Array.from({ length: parts }, (_, part) => first + part * perPart))(
    `${perPart} from seed %i`,
    async (from) => {
      for (let seed = from; seed < from + perPart; seed++) await run(seed, tally)
    }
  )

  it("cover every kind of event, outcome and message", () => {
    console.info(tally)
    if (perPart === 1) return
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
    expect([...events, ...outcomes, ...messages].filter((name) => (tally[name] ?? 0) < 100)).toEqual([])
  })
})

describe("control: the histories detect", () => {
  /** The error of the first history that fails. */
  const found = async (options: Options): Promise<string> => {
    for (let seed = 0; seed < 200; seed++) {
      const message = await run(seed, {}, options).then(
        () => "",
        (error: Error) => error.message.split("\n")[0]!
      )
      if (message !== "") return message
    }
    return "nothing"
  }

  const messagesOf = (data: string): ReadonlyArray<any> => [JSON.parse(data)].flat()
  const text = (messages: ReadonlyArray<unknown>) => (messages.length === 0 ? [] : [JSON.stringify(messages)])

  it("a server that forgets the outcomes of mutations", async () => {
    const sabotageStep: Options["sabotageStep"] = ({ database, starts }) => {
      const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_mutations'").get()
      if (starts > 0 && table !== undefined) database.exec("DELETE FROM _dormouse_mutations")
    }
    expect(await found({ sabotageStep })).toMatch(
      /was done 2 times|shows a mark twice|failed and is there|which failed/
    )
  })

  it("a client that does not learn that a commit was delivered", async () => {
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => text(messagesOf(data).filter(({ _tag }) => _tag !== "Delivered"))
    }
    expect(await found({ sabotage })).toMatch(/is optimistic in the end|never ended/)
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
    expect(await found({ sabotage })).toMatch(/does not show it|vanished from/)
  })

  it("a server that sends the changes of one commit in several messages", async () => {
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => messagesOf(data).map((message) => JSON.stringify(message))
    }
    expect(await found({ sabotage })).toMatch(/at once/)
  })

  it("a server that reports changed values as unchanged", async () => {
    const current = (message: any) =>
      message._tag === "Chunk" && message.values[0]._tag === "Patch"
        ? { ...message, values: [{ _tag: "Current", version: message.values[0].version }] }
        : message
    const sabotage: Options["sabotage"] = ({ network }) => {
      network.intercept = (_, data) => text(messagesOf(data).map(current))
    }
    expect(await found({ sabotage })).toMatch(/does not show|at once|the database has/)
  })
})
