/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import { afterAll, describe, expect, it } from "vitest"
import {
  compareKeys,
  compareKeyToPosition,
  comparePositions,
  compareValues,
  type Key,
  Position,
  Range,
  type SqlValue
} from "../../src/services/storage/KeyOrder.ts"
import { forAll, type Random } from "../random.ts"

const characters = [
  "a",
  "b",
  "\u0000",
  "\u007f",
  "\u0080",
  "é",
  "\u07ff",
  "\ud7ff",
  "\ue000",
  "\ufffd",
  "\uffff",
  "\u{10000}",
  "\u{1f600}",
  "\u{1f601}",
  "\u{10ffff}"
]
const halves = ["\ud800", "\ud83d", "\udbff", "\udc00", "\ude00", "\udfff"]
const numbers = [
  0,
  -0,
  1,
  -1,
  1.5,
  0.1,
  -0.1,
  1e-320,
  2 ** 31,
  2 ** 53,
  -(2 ** 53),
  2 ** 63,
  1e300,
  Number.MAX_VALUE,
  Number.MIN_VALUE,
  Infinity,
  -Infinity
]

const text = (random: Random, alphabet: ReadonlyArray<string>) =>
  random.array(random.int(5), () => random.pick(alphabet)).join("")
const blob = (random: Random) => Uint8Array.from(random.array(random.int(4), () => random.pick([0, 1, 127, 128, 255])))
const number = (random: Random) =>
  random.chance(0.5) ? random.pick(numbers) : (random.int(2000) - 1000) / random.pick([1, 1, 7])

const value = (random: Random): SqlValue => {
  switch (random.int(8)) {
    case 0:
      return null
    case 1:
    case 2:
      return number(random)
    case 3:
      return blob(random)
    case 4:
      return text(random, [...characters, ...halves])
    default:
      return text(random, characters)
  }
}

/** Few values, so that keys often share prefixes or are equal. */
const key = (random: Random, maxLength: number): Key =>
  random.array(random.int(maxLength + 1), () => random.pick<SqlValue>([null, 1, "a", "b", Uint8Array.of(1)]))
const position = (random: Random): Position => ({ key: key(random, 3), after: random.chance(0.5) })

const database = new DatabaseSync(":memory:")
afterAll(() => database.close())

/** Whole numbers are bound as INTEGER in half of the cases, otherwise as REAL. */
const bound = (random: Random, input: SqlValue): SqlValue | bigint =>
  Number.isSafeInteger(input) && random.chance(0.5) ? BigInt(input as number) : input

describe("values", () => {
  it("sort NULL first, then numbers, text and blobs", () => {
    const ascending: ReadonlyArray<SqlValue> = [
      null,
      -Infinity,
      -1,
      0,
      0.5,
      1,
      Infinity,
      "",
      "\u0000",
      "A",
      "a",
      "aa",
      "b",
      "\uffff",
      "\u{10000}",
      new Uint8Array(),
      Uint8Array.of(0),
      Uint8Array.of(0, 0),
      Uint8Array.of(1)
    ]
    ascending.forEach((a, i) => {
      ascending.forEach((b, j) => {
        expect(compareValues(a, b)).toBe(Math.sign(i - j))
      })
    })
  })

  it("sort by UTF-8 where the order of UTF-16 differs", () => {
    expect("\u{1f600}" < "\uff5e").toBe(true)
    expect(compareValues("\u{1f600}", "\uff5e")).toBe(1)
    expect(compareValues("x\ud83d\ude00", "x\ud83d\ude01")).toBe(-1)
    expect(compareValues("\u{1f600}a", "\u{1f600}")).toBe(1)
  })

  it("treat half a surrogate pair as the replacement character, and NaN as NULL", () => {
    expect(compareValues("a\ud83d", "a\ufffd")).toBe(0)
    expect(compareValues("\ud83dx", "\ude00x")).toBe(0)
    expect(compareValues("\ud83d", "\ud83d\ude00")).toBe(-1)
    expect(compareValues(Number.NaN, null)).toBe(0)
    expect(compareValues(Number.NaN, -Infinity)).toBe(-1)
    expect(compareValues(-0, 0)).toBe(0)
  })

  it("compare as SQLite compares them", () => {
    const statement = database.prepare(
      "SELECT ?1 IS ?2 AS same, row_number() OVER (ORDER BY v) AS rank, i FROM (SELECT 0 AS i, ?1 AS v UNION ALL SELECT 1, ?2) ORDER BY i"
    )
    forAll(4000, (random) => {
      const a = value(random)
      const b = random.chance(0.2) ? a : value(random)
      const result = statement.all(bound(random, a), bound(random, b))
      const [first, second] = result as [{ same: number; rank: number }, { rank: number }]
      expect(compareValues(a, b)).toBe(first.same ? 0 : Math.sign(first.rank - second.rank))
      expect(compareValues(b, a)).toBe(first.same ? 0 : Math.sign(second.rank - first.rank))
    })
  })
})

describe("keys", () => {
  it("sort as an index sorts them", () => {
    forAll(20, (random) => {
      database.exec(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (i INTEGER PRIMARY KEY, a, b, c); CREATE INDEX abc ON t (a, b, c)"
      )
      const insert = database.prepare("INSERT INTO t VALUES (?, ?, ?, ?)")
      const columns = random.array(3, () => random.array(3, () => value(random)))
      const keys = random.array(60, () =>
        columns.map((values) => (random.chance(0.8) ? random.pick(values) : value(random)))
      )
      keys.forEach((key, i) => {
        insert.run(i, ...key.map((item) => bound(random, item)))
      })
      const sorted = database.prepare("SELECT i FROM t ORDER BY a, b, c, i").all()
      const expected = keys.map((_, i) => i).sort((i, j) => compareKeys(keys[i]!, keys[j]!) || i - j)
      expect(sorted.map((row) => row["i"])).toEqual(expected)
    })
  })

  it("sort before longer keys that start with them", () => {
    expect(compareKeys([], [null])).toBe(-1)
    expect(compareKeys(["a"], ["a", null])).toBe(-1)
    expect(compareKeys(["a", 1], ["a"])).toBe(1)
    expect(compareKeys(["a", 1], ["a", 1])).toBe(0)
    expect(compareKeys(["b"], ["a", 1])).toBe(1)
  })
})

describe("positions", () => {
  it("are ordered by the keys before them", () => {
    forAll(300, (random) => {
      const keys = random.array(40, () => key(random, 4))
      const a = position(random)
      const b = position(random)
      const isBefore = (key: Key, bound: Position) => compareKeyToPosition(key, bound) < 0
      if (comparePositions(a, b) <= 0) {
        for (const key of keys) if (isBefore(key, a)) expect(isBefore(key, b)).toBe(true)
      } else {
        expect(comparePositions(b, a)).toBe(-1)
      }
    })
  })

  it("have a total order", () => {
    forAll(2000, (random) => {
      const [a, b, c] = [position(random), position(random), position(random)]
      expect(comparePositions(a, b) + comparePositions(b, a)).toBe(0)
      expect(comparePositions(a, b) === 0).toBe(compareKeys(a.key, b.key) === 0 && a.after === b.after)
      if (comparePositions(a, b) <= 0 && comparePositions(b, c) <= 0)
        expect(comparePositions(a, c)).toBeLessThanOrEqual(0)
    })
  })

  it("agree with the order of keys", () => {
    forAll(1000, (random) => {
      const [a, b] = [key(random, 4), key(random, 4)].sort(compareKeys) as [Key, Key]
      const bound = position(random)
      expect(compareKeyToPosition(a, bound)).toBeLessThanOrEqual(compareKeyToPosition(b, bound))
    })
  })

  it("enclose exactly the keys with their prefix", () => {
    forAll(1000, (random) => {
      const prefix = key(random, 3)
      const candidate = key(random, 4)
      const starts = compareKeys(candidate.slice(0, prefix.length), prefix) === 0
      expect(Range.contains(Range.prefix(prefix), candidate)).toBe(starts)
    })
  })
})

describe("ranges", () => {
  it("of everything contain every key, including the empty one", () => {
    forAll(200, (random) => expect(Range.contains(Range.everything, key(random, 4))).toBe(true))
    expect(Range.prefix([])).toEqual(Range.everything)
  })

  it("are empty if no key is between their positions", () => {
    expect(Range.isEmpty(Range.make(Position.after(["a"]), Position.before(["a"])))).toBe(true)
    expect(Range.isEmpty(Range.make(Position.after(["a"]), Position.after(["a"])))).toBe(true)
    expect(Range.isEmpty(Range.make(Position.after(["a", 1]), Position.after(["a"])))).toBe(false)
    expect(Range.isEmpty(Range.point(["a"]))).toBe(false)
    forAll(1000, (random) => {
      const range = Range.make(position(random), position(random))
      if (Range.isEmpty(range)) expect(Range.contains(range, key(random, 4))).toBe(false)
    })
  })

  it("contain the rows that the same bounds select in SQLite", () => {
    database.exec("CREATE TABLE r (a, b)")
    const insert = database.prepare("INSERT INTO r VALUES (?, ?)")
    const select = database.prepare("SELECT count(*) AS n FROM r WHERE a IS ?1 AND b > ?2 AND b <= ?3")
    forAll(60, (random) => {
      database.exec("DELETE FROM r")
      const few = random.array(4, () => value(random))
      const rows = random.array(30, () => [random.pick(few), value(random)] as const)
      for (const row of rows) insert.run(...row)
      const a = random.pick(few)
      const [low, high] = [random.pick(rows)[1], value(random)]
      // A comparison with NULL is never true in SQL.
      if (low === null || high === null) return
      const range = Range.make(Position.after([a, low]), Position.after([a, high]))
      expect(rows.filter((row) => Range.contains(range, row)).length).toBe(select.get(a, low, high)?.["n"])
    })
  })
})
