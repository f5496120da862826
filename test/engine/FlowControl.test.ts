import { describe, expect, it } from "vitest"
import * as FlowControl from "../../src/engine/object/FlowControl.ts"
import { forAll, type Random, Violation } from "../random.ts"

interface Reader {
  readonly prompt: boolean
  unacknowledged: number
  /** The newest result, and the one that was sent last. */
  newest: number
  sent: number
}

/** One socket with some live queries: results change, what may be sent is sent, and acknowledgements come late. */
const simulate = (random: Random, sendable: typeof FlowControl.sendable) => {
  const readers = random.array(1 + random.int(6), (): Reader => {
    return { prompt: random.chance(0.7), unacknowledged: 0, newest: 0, sent: 0 }
  })
  let version = 0
  const notify = () => {
    const due = readers.filter(({ newest, sent }) => newest !== sent)
    const { now, waiting } = sendable(due)
    expect(new Set([...now, ...waiting])).toEqual(new Set(due))
    expect(now.length + waiting.length).toBe(due.length)
    for (const reader of now) {
      // L6
      expect(reader.unacknowledged).toBe(0)
      reader.sent = reader.newest
      reader.unacknowledged++
    }
    // L5: prompt readers show one version, or wait together.
    const prompt = readers.filter(({ prompt }) => prompt)
    const isBehind = prompt.filter(({ newest, sent }) => newest !== sent)
    if (now.some(({ prompt }) => prompt)) expect(isBehind).toEqual([])
  }
  const acknowledge = () => {
    const reader = random.pick(readers)
    if (reader.unacknowledged === 0) return
    reader.unacknowledged--
    notify()
  }
  for (let step = 0; step < 60; step++) {
    if (random.chance(0.5)) {
      version++
      for (const reader of readers) if (random.chance(0.4)) reader.newest = version
      notify()
    } else acknowledge()
  }
  // Whoever acknowledges everything has the newest.
  for (let i = 0; i < 200; i++) acknowledge()
  while (readers.some(({ unacknowledged }) => unacknowledged > 0)) acknowledge()
  for (const { newest, sent } of readers) expect(sent).toBe(newest)
}

describe("L5 L6: what a socket is sent before it acknowledges", () => {
  it("L5 L6: at random, one frame of each query is under way, prompt ones together, and the newest comes in the end", () => {
    forAll(500, (random) => simulate(random, FlowControl.sendable))
  })

  it("control: sending without waiting is found out", () => {
    expect(() => forAll(500, (random) => simulate(random, (due) => ({ now: due, waiting: [] })))).toThrow(Violation)
  })

  it("control: prompt queries that do not wait for each other are found out", () => {
    const alone: typeof FlowControl.sendable = (due) => ({
      now: due.filter(({ unacknowledged }) => unacknowledged === 0),
      waiting: due.filter(({ unacknowledged }) => unacknowledged > 0)
    })
    expect(() => forAll(500, (random) => simulate(random, alone))).toThrow(Violation)
  })
})

describe("what is told of delivered commits", () => {
  /** Commits of one socket are awaited in their order, and delivered versions grow. */
  const property = (random: Random, delivered: typeof FlowControl.delivered) => {
    let awaited = FlowControl.nothingAwaited
    let committed = 0
    let reached = 0
    const waiting = new Set<number>()
    for (let step = 0; step < 80; step++) {
      if (random.chance(0.5)) {
        committed += 1 + random.int(3)
        waiting.add(committed)
        awaited = FlowControl.awaitCommit(awaited, committed)
      } else {
        reached = Math.max(reached, random.int(committed + 2))
        const next = delivered(awaited, reached)
        const done = [...waiting].filter((version) => version <= reached)
        // Told exactly when a commit that is awaited is in it: not too often, and never too late.
        if (done.length > 0) expect(next.tell).toBe(true)
        for (const version of done) waiting.delete(version)
        if (waiting.size === 0 && done.length > 0) expect(next.awaited).toEqual(FlowControl.nothingAwaited)
        awaited = next.awaited
      }
    }
    const last = delivered(awaited, committed)
    expect(last.tell).toBe(waiting.size > 0)
    expect(last.awaited).toEqual(FlowControl.nothingAwaited)
  }

  it("at random, each commit is told once it was delivered", () => {
    forAll(500, (random) => property(random, FlowControl.delivered))
  })

  it("control: forgetting the later of two commits is found out", () => {
    const forgetful: typeof FlowControl.delivered = (awaited, version) => {
      const next = FlowControl.delivered(awaited, version)
      return next.tell ? { tell: true, awaited: FlowControl.nothingAwaited } : next
    }
    expect(() => forAll(500, (random) => property(random, forgetful))).toThrow(Violation)
  })
})
