import { describe, expect, it } from "vitest"
import { type Key, Position, Range } from "../../src/services/storage/KeyOrder.ts"
import { indexKey, ReadRecorder, touches, WriteRecorder } from "../../src/services/storage/ReadSet.ts"
import { forAll, type Random } from "../random.ts"

const reads = (record: (recorder: ReadRecorder) => void) => {
  const recorder = new ReadRecorder()
  record(recorder)
  return recorder.toReadSet()
}

const writes = (record: (recorder: WriteRecorder) => void) => {
  const recorder = new WriteRecorder()
  record(recorder)
  return recorder.toWriteSet()
}

const key = (random: Random): Key => random.array(2, () => random.int(6))
const position = (random: Random): Position => ({ key: key(random).slice(0, random.int(3)), after: random.chance(0.5) })

describe("touches", () => {
  const nothing = reads(() => {})
  const everything = reads((_) => _.everything())
  const table = reads((_) => _.table("t"))
  const range = reads((_) => _.range("t", "byA", Range.make(Position.after([1]), Position.before([5]))))

  const cases = [
    ["nothing", writes(() => {}), { everything: false, table: false, range: false }],
    ["everything", writes((_) => _.everything()), { everything: true, table: true, range: true }],
    ["the table, raw", writes((_) => _.table("t")), { everything: true, table: true, range: true }],
    ["another table, raw", writes((_) => _.table("u")), { everything: true, table: false, range: false }],
    ["a key inside", writes((_) => _.key("t", "byA", [3, 9])), { everything: true, table: true, range: true }],
    [
      "a key at the open bound",
      writes((_) => _.key("t", "byA", [1, 9])),
      { everything: true, table: true, range: false }
    ],
    [
      "a key of another index",
      writes((_) => _.key("t", "byB", [3, 9])),
      { everything: true, table: true, range: false }
    ],
    [
      "a key of another table",
      writes((_) => _.key("u", "byA", [3, 9])),
      { everything: true, table: false, range: false }
    ]
  ] as const

  it.each(cases)("L2: a write of %s", (_, written, expected) => {
    expect(touches(nothing, written)).toBe(false)
    expect(touches(everything, written)).toBe(expected.everything)
    expect(touches(table, written)).toBe(expected.table)
    expect(touches(range, written)).toBe(expected.range)
  })

  it("L2: a row that leaves a range affects it through its old key", () => {
    const moved = writes((_) => {
      _.key("t", "byA", [3, 1])
      _.key("t", "byA", [7, 1])
    })
    expect(touches(range, moved)).toBe(true)
  })

  it("does not confuse tables and indexes whose joined names are equal", () => {
    const read = reads((_) => _.range("a,b", "c", Range.everything))
    expect(
      touches(
        read,
        writes((_) => _.key("a", "b,c", [1]))
      )
    ).toBe(false)
    expect(indexKey('a","b', "c")).not.toBe(indexKey("a", 'b","c'))
  })
})

describe("ReadRecorder", () => {
  it("merges ranges that overlap or touch, and drops empty ones", () => {
    const set = reads((_) => {
      _.range("t", "i", Range.prefix([7]))
      _.range("t", "i", Range.make(Position.before([1]), Position.after([2])))
      _.range("t", "i", Range.make(Position.after([2]), Position.before([4])))
      _.range("t", "i", Range.point([3]))
      _.range("t", "i", Range.make(Position.after([9]), Position.before([9])))
      _.range("t", "j", Range.make(Position.after([9]), Position.before([9])))
    })
    expect([...set.ranges.values()]).toEqual([
      {
        table: "t",
        index: "i",
        ranges: [Range.make(Position.before([1]), Position.before([4])), Range.prefix([7])]
      }
    ])
  })

  it("leaves out ranges that a whole table, or everything, covers", () => {
    const whole = reads((_) => {
      _.range("t", "i", Range.point([1]))
      _.range("u", "i", Range.point([1]))
      _.table("t")
    })
    expect([...whole.ranges.keys()]).toEqual([indexKey("u", "i")])
    const all = reads((_) => {
      _.range("t", "i", Range.point([1]))
      _.table("u")
      _.everything()
    })
    expect(all).toMatchObject({ everything: true, tables: new Set(), ranges: new Map() })
  })

  it("records reads of the identity and of the time separately", () => {
    expect(reads(() => {})).toMatchObject({ identity: false, clock: false })
    expect(reads((_) => _.identity())).toMatchObject({ identity: true, clock: false })
    expect(reads((_) => _.clock())).toMatchObject({ identity: false, clock: true })
  })

  it("returns a set that later reads do not change", () => {
    const recorder = new ReadRecorder()
    recorder.table("t")
    const before = recorder.toReadSet()
    recorder.table("u")
    recorder.everything()
    expect([...before.tables]).toEqual(["t"])
    expect(before.everything).toBe(false)
  })

  it("merges to ranges that contain exactly the keys of the recorded ranges", () => {
    forAll(500, (random) => {
      const ranges = random.array(random.int(8), () => Range.make(position(random), position(random)))
      const merged = reads((_) => {
        for (const range of ranges) _.range("t", "i", range)
      }).ranges.get(indexKey("t", "i"))
      for (let i = 0; i < 20; i++) {
        const probe = key(random)
        const inMerged = (merged?.ranges ?? []).filter((range) => Range.contains(range, probe))
        expect(inMerged.length).toBe(ranges.some((range) => Range.contains(range, probe)) ? 1 : 0)
      }
    })
  })
})

describe("WriteRecorder", () => {
  it("returns each key once, in order", () => {
    const set = writes((_) => {
      for (const key of [[2], [1], [2], [10]]) _.key("t", "i", key)
    })
    expect(set.keys.get(indexKey("t", "i"))).toEqual({ table: "t", index: "i", keys: [[1], [2], [10]] })
    expect(set.rowTables).toEqual(new Set(["t"]))
  })

  it("leaves out keys that a raw write, or everything, covers", () => {
    const raw = writes((_) => {
      _.key("t", "i", [1])
      _.key("u", "i", [1])
      _.table("t")
    })
    expect(raw).toMatchObject({ rowTables: new Set(["u"]), rawTables: new Set(["t"]) })
    expect([...raw.keys.keys()]).toEqual([indexKey("u", "i")])
    const all = writes((_) => {
      _.key("t", "i", [1])
      _.table("u")
      _.everything()
    })
    expect(all).toEqual({ everything: true, rowTables: new Set(), rawTables: new Set(), keys: new Map() })
  })

  it("T1: drops exactly the writes of a part that was rolled back", () => {
    const recorder = new WriteRecorder()
    const start = recorder.mark()
    recorder.key("t", "i", [1])
    const outer = recorder.mark()
    recorder.key("t", "i", [2])
    const inner = recorder.mark()
    recorder.everything()
    recorder.table("u")
    recorder.rollbackTo(inner)
    expect(recorder.toWriteSet().keys.get(indexKey("t", "i"))?.keys).toEqual([[1], [2]])
    expect(recorder.toWriteSet()).toMatchObject({ everything: false, rawTables: new Set() })
    recorder.rollbackTo(outer)
    recorder.key("t", "i", [3])
    expect(recorder.toWriteSet().keys.get(indexKey("t", "i"))?.keys).toEqual([[1], [3]])
    recorder.rollbackTo(start)
    expect(recorder.isEmpty).toBe(true)
    expect(() => recorder.rollbackTo(inner)).toThrow(RangeError)
  })

  it("L4: merges several commits into one set", () => {
    const first = new WriteRecorder()
    first.key("t", "i", [2])
    const second = new WriteRecorder()
    second.key("t", "i", [1])
    second.table("u")
    first.merge(second)
    second.everything()
    expect(first.toWriteSet()).toEqual(
      writes((_) => {
        _.table("u")
        _.key("t", "i", [1])
        _.key("t", "i", [2])
      })
    )
    first.merge(first)
    expect(first.toWriteSet().keys.get(indexKey("t", "i"))?.keys).toEqual([[1], [2]])
  })

  it("merges more writes than a call can have arguments", () => {
    const many = new WriteRecorder()
    for (let i = 0; i < 200_000; i++) many.key("t", "i", [i])
    const all = new WriteRecorder()
    all.merge(many)
    expect(all.toWriteSet().keys.get(indexKey("t", "i"))?.keys.length).toBe(200_000)
  })
})
