import { describe, expect, it } from "vitest"
import { type Order, ReadIndex } from "../../src/engine/object/ReadIndex.ts"
import {
  compareKeyToPosition,
  comparePositions,
  type Key,
  Position,
  Range
} from "../../src/services/storage/KeyOrder.ts"
import { ReadRecorder, type ReadSet, touches, WriteRecorder } from "../../src/services/storage/ReadSet.ts"
import { forAll, Random, startSeed } from "../random.ts"

const tables = ["t", "u"]
const indexes = ["i", "j"]
const key = (random: Random, span: number): Key => [random.int(span), random.int(3)]
const position = (random: Random, span: number): Position => ({
  key: key(random, span).slice(0, random.int(20) === 0 ? 0 : 1 + random.int(2)),
  after: random.chance(0.5)
})

const readSet = (random: Random, span: number): ReadSet => {
  const recorder = new ReadRecorder()
  if (random.int(30) === 0) recorder.everything()
  if (random.int(10) === 0) recorder.table(random.pick(tables))
  for (let n = random.int(5); n > 0; n--) {
    recorder.range(
      random.pick(tables),
      random.pick(indexes),
      Range.make(position(random, span), position(random, span))
    )
  }
  return recorder.toReadSet()
}

const writeSet = (random: Random, span: number) => {
  const recorder = new WriteRecorder()
  if (random.int(30) === 0) recorder.everything()
  if (random.int(8) === 0) recorder.table(random.pick(tables))
  for (let n = random.int(random.pick([2, 2, 4, 30])); n > 0; n--) {
    recorder.key(random.pick(tables), random.pick(indexes), key(random, span))
  }
  return recorder.toWriteSet()
}

const readOf = (...ranges: ReadonlyArray<Range>) => {
  const recorder = new ReadRecorder()
  for (const range of ranges) recorder.range("t", "i", range)
  return recorder.toReadSet()
}

const writeOf = (...keys: ReadonlyArray<Key>) => {
  const recorder = new WriteRecorder()
  for (const key of keys) recorder.key("t", "i", key)
  return recorder.toWriteSet()
}

/** The real order, which counts its comparisons. */
const countingOrder = () => {
  const counter = { count: 0 }
  const order: Order = {
    comparePositions: (a, b) => {
      counter.count++
      return comparePositions(a, b)
    },
    compareKeyToPosition: (key, position) => {
      counter.count++
      return compareKeyToPosition(key, position)
    }
  }
  return { counter, order }
}

const arrangements = ["ascending", "descending", "inward", "random"] as const

/** The numbers below `size`, in an order that is bad for a search tree. */
const arrange = (arrangement: (typeof arrangements)[number], size: number, random: Random): Array<number> => {
  const ids = random.array(size, (id) => id)
  if (arrangement === "random") return random.shuffle(ids)
  if (arrangement === "inward") return ids.map((id) => (id % 2 === 0 ? id / 2 : size - (id + 1) / 2))
  return arrangement === "descending" ? ids.reverse() : ids
}

/** The maximum height of an AVL tree of n nodes. */
const levels = (n: number) => 1.4405 * Math.log2(n + 2)
/**
 * Comparisons per node for a key in no range: the end of the subtree, of its left subtree, and both ends of the range.
 */
const perLevel = 4

describe("ReadIndex", () => {
  it("L1, L2: finds exactly what `touches` finds, after any sets, replacements and deletions", () => {
    forAll(150, (random) => {
      const span = random.pick([4, 12, 200])
      const index = new ReadIndex<number>()
      const known = new Map<number, ReadSet>()
      for (let step = 0; step < 120; step++) {
        const id = random.int(40)
        if (random.chance(0.3)) {
          index.delete(id)
          known.delete(id)
        } else {
          const reads = readSet(random, span)
          index.set(id, reads)
          known.set(id, reads)
        }
        if (step % 4 !== 0) continue
        const writes = writeSet(random, span)
        const expected = [...known].filter(([, reads]) => touches(reads, writes)).map(([id]) => id)
        expect([...index.touched(writes)].sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b))
      }
    })
  })

  it("L2: keeps nothing of deleted read sets", () => {
    forAll(20, (random) => {
      const index = new ReadIndex<number>()
      for (let id = 0; id < 100; id++) index.set(id, readSet(random, 20))
      for (const id of random.shuffle(random.array(100, (id) => id))) index.delete(id)
      const all = new WriteRecorder()
      all.everything()
      expect(index.touched(all.toWriteSet()).size).toBe(0)
      for (let i = 0; i < 20; i++) expect(index.touched(writeSet(random, 20)).size).toBe(0)
    })
  })

  it.each(arrangements)(
    "L2: 5,000 ranges that a write does not affect, %s, cost little more than 10",
    (arrangement) => {
      const cost = (size: number) => {
        const { counter, order } = countingOrder()
        const index = new ReadIndex<number>(order)
        const random = new Random(startSeed())
        for (const id of arrange(arrangement, size, random)) index.set(id, readOf(Range.prefix([id * 2])))
        let most = 0
        for (let id = 0; id < size; id += Math.ceil(size / 50)) {
          counter.count = 0
          expect(index.touched(writeOf([id * 2 + 1, 0])).size).toBe(0)
          most = Math.max(most, counter.count)
          expect(index.touched(writeOf([id * 2, 0]))).toEqual(new Set([id]))
        }
        return most
      }
      expect(cost(10)).toBeLessThanOrEqual(perLevel * levels(10))
      expect(cost(5000)).toBeLessThanOrEqual(perLevel * levels(5000))
    }
  )

  it("L2: deleted read sets cost nothing", () => {
    forAll(10, (random) => {
      const size = 2000
      const { counter, order } = countingOrder()
      const index = new ReadIndex<number>(order)
      // Every second range extends to the end, until it is deleted.
      const read = (id: number) =>
        readOf(id % 2 === 0 ? Range.prefix([id]) : Range.make(Position.before([id]), Position.end))
      for (const id of arrange(random.pick(arrangements), size, random)) index.set(id, read(id))
      for (const id of arrange(random.pick(arrangements), size, random)) {
        if (id % 2 === 1 || id % 16 !== 0) index.delete(id)
      }
      for (let id = 1; id < size; id += 16) {
        counter.count = 0
        expect(index.touched(writeOf([id, 0])).size).toBe(0)
        expect(counter.count).toBeLessThanOrEqual(perLevel * levels(125))
      }
    })
  })

  it("L2: ranges of other tables and indexes cost nothing", () => {
    const { counter, order } = countingOrder()
    const index = new ReadIndex<string>(order)
    for (let i = 0; i < 1000; i++) {
      const recorder = new ReadRecorder()
      recorder.range(`t${i}`, "i", Range.everything)
      recorder.range("t", `i${i}`, Range.everything)
      index.set(`${i}`, recorder.toReadSet())
    }
    counter.count = 0
    expect(index.touched(writeOf([1], [2])).size).toBe(0)
    expect(counter.count).toBe(0)
  })

  it("handles thousands of equal ranges", () => {
    const { counter, order } = countingOrder()
    const index = new ReadIndex<number>(order)
    for (let id = 0; id < 5000; id++) index.set(id, readOf(Range.prefix([1])))
    counter.count = 0
    expect(index.touched(writeOf([2, 0])).size).toBe(0)
    expect(counter.count).toBeLessThan(5)
    expect(index.touched(writeOf([1, 0])).size).toBe(5000)
    for (let id = 0; id < 5000; id += 2) index.delete(id)
    expect(index.touched(writeOf([1, 0])).size).toBe(2500)
  })

  it("handles thousands of nested ranges", () => {
    const size = 5000
    const { counter, order } = countingOrder()
    const index = new ReadIndex<number>(order)
    for (let id = 0; id < size; id++) {
      index.set(id, readOf(Range.make(Position.before([id]), Position.after([2 * size - id]))))
    }
    counter.count = 0
    expect(index.touched(writeOf([3, 0]))).toEqual(new Set([0, 1, 2, 3]))
    expect(index.touched(writeOf([2 * size, 0]))).toEqual(new Set([0]))
    expect(counter.count).toBeLessThan(200)
    expect(index.touched(writeOf([size, 0])).size).toBe(size)
  })

  it("checks a range once for all keys in it", () => {
    const { counter, order } = countingOrder()
    const index = new ReadIndex<number>(order)
    for (let id = 0; id < 500; id++) index.set(id, readOf(Range.make(Position.before([id]), Position.end)))
    const writes = writeOf(...Array.from({ length: 2000 }, (_, i) => [1000 + i]))
    counter.count = 0
    expect(index.touched(writes).size).toBe(500)
    // Key by key, it would take a million comparisons.
    expect(counter.count).toBeLessThan(500 * 3 * Math.log2(2000))
  })
})
