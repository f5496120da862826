import { describe, expect, it } from "vitest"
import { TurnQueue } from "../../src/engine/object/TurnQueue.ts"
import { forAll, type Random, Violation } from "../random.ts"

const limits = { queuedMessages: 1000, queuedBytes: 1_000_000 }

/** A queue whose deferred turns the test runs, and what happened in which turn. */
const harness = (options: Partial<typeof limits> = {}) => {
  const deferred: Array<() => void> = []
  const turns: Array<Array<string>> = []
  let current: Array<string> = []
  let failures = 0
  const queue: TurnQueue = new TurnQueue({
    limits: { ...limits, ...options },
    defer: (task) => void deferred.push(task),
    endTurn: () => current.push("end"),
    commitTurn: (turn) => {
      current = []
      turns.push(current)
      turn()
    }
  })
  const submit = (source: object, name: string, mayCommit: boolean, size = 1, body = () => {}) =>
    queue.submit({
      source,
      mayCommit,
      data: "x".repeat(size),
      run: () =>
        queue.run(() => {
          current.push(name)
          if (mayCommit) queue.committed()
          body()
        })
    })
  const runDeferred = () => {
    const task = deferred.shift()
    try {
      task?.()
    } catch {
      failures++
    }
    return task !== undefined
  }
  return { queue, turns, deferred, submit, runDeferred, failures: () => failures }
}

describe("T6: the queue in front of the object", () => {
  const [a, b, c] = [{}, {}, {}]

  it("T6: a lone call is handled at once", () => {
    const { deferred, runDeferred, submit, turns } = harness()
    submit(a, "a1", true)
    expect(turns).toEqual([["a1", "end"]])
    // The turn after, in which nothing was waiting.
    while (runDeferred());
    submit(a, "a2", true)
    expect(turns).toEqual([
      ["a1", "end"],
      ["a2", "end"]
    ])
    expect(deferred).toHaveLength(1)
  })

  it("T6: of the queries that a source sends without a pause the first are handled at once, the others in turns", () => {
    const { runDeferred, submit, turns } = harness()
    for (let i = 0; i < 300; i++) submit(a, `a${i}`, false)
    expect(turns).toHaveLength(64)
    // Another source does not wait for them.
    submit(b, "b0", false)
    expect(turns.at(-1)).toEqual(["b0", "end"])
    for (let i = 1; i < 100; i++) submit(b, `b${i}`, false)
    const before = turns.length
    while (runDeferred());
    const later = turns.slice(before)
    // No turn is long, and each serves both.
    expect(later.map((turn) => turn.length - 1)).toEqual([128, 128, 16])
    expect(later[0]!.slice(0, 4)).toEqual(["a64", "b64", "a65", "b65"])
    // After a pause the source is served at once again.
    submit(a, "again", false)
    expect(turns.at(-1)).toEqual(["again", "end"])
  })

  it("T6: a source that sends more than may wait is refused, queries or not", () => {
    const { deferred, submit } = harness({ queuedMessages: 10 })
    for (let i = 0; i < 74; i++) expect(submit(a, `a${i}`, false)).toBeUndefined()
    expect(submit(a, "a74", false)).toBe("queuedMessages")
    expect(submit(b, "b0", false)).toBeUndefined()
    // One task for the turns and one for the pause.
    expect(deferred.length).toBeLessThanOrEqual(2)
  })

  it("control: queries with pauses between them are all handled at once", () => {
    const { runDeferred, submit, turns } = harness()
    for (let i = 0; i < 300; i++) {
      submit(a, `a${i}`, false)
      if (i % 32 === 0) while (runDeferred());
    }
    expect(turns).toHaveLength(300)
  })

  it("T6: what may commit waits while a commit is on its way, and then shares one turn", () => {
    const { runDeferred, submit, turns } = harness()
    submit(a, "a1", true)
    for (const [source, name] of [
      [a, "a2"],
      [b, "b1"],
      [a, "a3"],
      [c, "c1"]
    ] as const) {
      submit(source, name, true)
    }
    expect(turns).toHaveLength(1)
    runDeferred()
    // One message of each source after the other.
    expect(turns.slice(1)).toEqual([["a2", "b1", "c1", "a3", "end"]])
  })

  it("T6: what cannot commit waits only for earlier messages of its source", () => {
    const { runDeferred, submit, turns } = harness()
    submit(a, "a1", true)
    submit(a, "a2", true)
    submit(a, "query of a", false)
    submit(b, "query of b", false)
    expect(turns.map((turn) => turn[0])).toEqual(["a1", "query of b"])
    runDeferred()
    expect(turns.at(-1)).toEqual(["a2", "query of a", "end"])
  })

  it("T6: a message that fails leaves the others to their turn, and is reported", () => {
    const { failures, runDeferred, submit, turns } = harness()
    submit(a, "a1", true)
    submit(a, "a2", true, 1, () => {
      throw new Error("no")
    })
    submit(b, "b1", true)
    submit(a, "a3", true)
    runDeferred()
    expect(turns.at(-1)).toEqual(["a2", "b1", "a3", "end"])
    expect(failures()).toBe(1)
  })

  it("T6: too many messages of one source, or too many bytes of all, are refused and not handled", () => {
    const { runDeferred, submit, turns } = harness({ queuedMessages: 2, queuedBytes: 10 })
    submit(a, "a1", true)
    expect([submit(a, "a2", true), submit(a, "a3", true), submit(a, "a4", true)]).toEqual([
      undefined,
      undefined,
      "queuedMessages"
    ])
    expect([submit(b, "b1", true, 8), submit(b, "b2", true, 1)]).toEqual([undefined, "queuedBytes"])
    runDeferred()
    expect(turns.at(-1)).toEqual(["a2", "b1", "a3", "end"])
    // What was handled does not count any more.
    submit(a, "a5", true)
    expect(submit(b, "b3", true, 9)).toBe(undefined)
  })

  it("T6: bytes are those of UTF-8, for text and for binary messages", () => {
    const { queue } = harness({ queuedBytes: 10 })
    const unit = (data: string | ArrayBuffer) => ({ source: {}, mayCommit: true, data, run: () => {} })
    queue.run(() => {
      expect(queue.submit(unit("語語語語"))).toBe("queuedBytes")
      expect(queue.submit(unit("語語語"))).toBe(undefined)
      expect(queue.submit(unit(new ArrayBuffer(2)))).toBe("queuedBytes")
      expect(queue.submit(unit(new ArrayBuffer(1)))).toBe(undefined)
    })
  })

  it("T6: one turn does not take more than a bounded number of messages", () => {
    const { runDeferred, submit, turns } = harness()
    submit(a, "first", true)
    for (let i = 0; i < 1000; i++) submit(a, `a${i}`, true)
    submit(b, "b", true)
    runDeferred()
    expect(turns[1]!.length).toBeLessThan(600)
    // The other source is not behind the thousand.
    expect(turns[1]!.indexOf("b")).toBeLessThan(3)
    while (runDeferred());
    expect(turns.flat().filter((name) => name !== "end")).toHaveLength(1002)
  })

  const property = (random: Random, order: (names: Array<string>) => Array<string> = (names) => names) => {
    const { runDeferred, submit, turns } = harness({ queuedMessages: 5, queuedBytes: 40 })
    const sources = random.array(4, (i) => ({ name: `s${i}`, accepted: [] as Array<string>, next: 0 }))
    for (let step = 0; step < 200; step++) {
      if (random.chance(0.15)) runDeferred()
      const source = random.pick(sources)
      const name = `${source.name}-${source.next++}`
      const body = random.chance(0.05)
        ? () => {
            throw new Error("no")
          }
        : undefined
      let refused: string | undefined
      try {
        refused = submit(source, name, random.chance(0.7), random.int(10), body)
      } catch {
        // Failed at once.
      }
      if (refused === undefined) source.accepted.push(name)
    }
    for (let i = 0; i < 1000 && runDeferred(); i++);
    const handled = turns.flat().filter((name) => name !== "end")
    for (const { accepted, name } of sources) {
      const own = order(handled.filter((each) => each.startsWith(`${name}-`)))
      expect(own).toEqual(accepted)
    }
    for (const turn of turns) expect(turn.filter((name) => name === "end")).toEqual(["end"])
  }

  it("T6: at random, what is accepted is handled once and in the order of its source", () => {
    forAll(300, (random) => property(random))
  })

  it("control: the property fails when two messages of a source change places", () => {
    const swapped = (names: Array<string>) => (names.length > 1 ? [names[1]!, names[0]!, ...names.slice(2)] : names)
    expect(() => forAll(300, (random) => property(random, swapped))).toThrow(Violation)
  })
})
