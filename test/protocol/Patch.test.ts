import * as JsonPatch from "effect/JsonPatch"
import { unescapeToken } from "effect/JsonPointer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { apply, make, type Operation, Patch, PatchError } from "../../src/protocol/Patch.ts"
import { forAll, type Random } from "../random.ts"

type Json = Schema.Json
type Row = { readonly [key: string]: Json }

/** Sets an own property, even `__proto__`, as `JSON.parse` does. */
const object = (entries: ReadonlyArray<readonly [string, Json]>): Row => Object.fromEntries(entries)

const names = [
  "",
  "/",
  "~",
  "~1",
  "a/b",
  "__proto__",
  "constructor",
  "toString",
  "length",
  "0",
  "-",
  "id",
  "a",
  "b",
  "é",
  "\u{1f600}"
]
const scalars: ReadonlyArray<Json> = [null, true, false, 0, 1, 2.5, -3, "", "a", "id", "__proto__"]

const json = (random: Random, depth: number): Json => {
  if (depth === 0 || random.chance(0.3)) return random.pick(scalars)
  if (random.chance(0.4)) return random.array(random.int(5), () => json(random, depth - 1))
  if (random.chance(0.3)) return rows(random, random.int(5), depth - 1)
  return object(random.array(random.int(5), () => [random.pick(names), json(random, depth - 1)]))
}

const rows = (random: Random, length: number, depth: number): Array<Row> =>
  random
    .shuffle(random.array(length * 2, (i) => (i % 3 === 0 ? String(i) : i)))
    .slice(0, length)
    .map((id) => ({ id, name: json(random, depth), tags: random.array(random.int(3), () => random.pick(scalars)) }))

/** A value similar to the given one, like the next result of a live query. */
const change = (random: Random, value: Json): Json => {
  if (random.chance(0.2)) return json(random, 2)
  if (Array.isArray(value)) {
    const items = value
      .filter(() => random.chance(0.85))
      .map((item) => (random.chance(0.3) ? change(random, item) : item))
    return random.chance(0.3) ? random.shuffle(items) : items
  }
  if (typeof value !== "object" || value === null) return random.pick(scalars)
  const entries = Object.entries(value as Row).filter(() => random.chance(0.85))
  return object(entries.map(([key, item]) => [key, random.chance(0.4) ? change(random, item) : item]))
}

/** The next state of a list of rows, which shares the unchanged rows. */
const changeRows = (random: Random, before: ReadonlyArray<Row>): Array<Row> => {
  const after = before
    .filter(() => random.chance(0.9))
    .map((row) => (random.chance(0.1) ? { ...row, name: json(random, 2) } : row))
  for (let n = random.int(4); n > 0; n--) {
    const [row] = after.splice(random.int(after.length), 1)
    if (row !== undefined) after.splice(random.int(after.length + 1), 0, row)
  }
  for (let n = random.int(4); n > 0; n--) {
    after.splice(random.int(after.length + 1), 0, { id: `new ${n}`, name: json(random, 2), tags: [] })
  }
  return random.chance(0.1) ? random.shuffle(after) : after
}

/** A plain implementation of RFC 6902 with a full copy per operation, like a library in another language. */
const applyPlainly = (value: Json, patch: Patch): any => {
  const holder: any = { root: value }
  const step = (state: any, op: Operation): any => {
    const copy = structuredClone(state)
    const walk = (pointer: string) => {
      const tokens = ["root", ...pointer.split("/").slice(1).map(unescapeToken)]
      const last = tokens.pop()!
      return { parent: tokens.reduce((at, token) => at[token], copy), last }
    }
    const put = (pointer: string, item: Json) => {
      const { parent, last } = walk(pointer)
      if (Array.isArray(parent)) parent.splice(last === "-" ? parent.length : Number(last), 0, item)
      else Object.defineProperty(parent, last, { value: item, writable: true, enumerable: true, configurable: true })
    }
    const take = (pointer: string) => {
      const { parent, last } = walk(pointer)
      const item = parent[last]
      if (Array.isArray(parent)) parent.splice(Number(last), 1)
      else delete parent[last]
      return item
    }
    if (op.op === "remove") take(op.path)
    else if (op.op === "move") put(op.path, take(op.from))
    else if (op.op === "replace" && op.path !== "") {
      take(op.path)
      put(op.path, op.value)
    } else put(op.path, op.value)
    return copy
  }
  return patch.reduce(step, holder).root
}

/** Freezes a value deeply, so that changing it in place throws. */
const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const key of Object.keys(value)) freeze((value as any)[key])
  }
  return value
}

const applied = (value: Json, patch: Patch): any => Result.getOrThrow(apply(value, patch))

const failure = (value: Json, patch: Patch) => {
  const result = apply(freeze(value), freeze(patch))
  return Result.isFailure(result) ? [result.failure.index, result.failure.path, result.failure.reason] : undefined
}

/** JSON text with sorted properties, including an own `__proto__`. */
const canonical = (value: Json): string =>
  JSON.stringify(value, (_, item) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item
  )

const checkRoundTrip = (before: Json, after: Json): Patch => {
  freeze(before)
  freeze(after)
  const patch = make(before, after)
  const overTheWire = Schema.decodeUnknownSync(Patch)(JSON.parse(JSON.stringify(patch)))
  expect(canonical(applied(before, patch))).toBe(canonical(after))
  expect(canonical(applied(before, overTheWire))).toBe(canonical(after))
  expect(canonical(applyPlainly(before, overTheWire))).toBe(canonical(after))
  if (canonical(before) === canonical(after)) expect(patch).toEqual([])
  return patch
}

const list = (...ids: ReadonlyArray<string | number>): Array<Row> => ids.map((id) => ({ id, text: `text of ${id}` }))

describe("make and apply", () => {
  it("L5: turn any JSON value into any other", () => {
    forAll(1500, (random) => {
      const before = json(random, 4)
      checkRoundTrip(before, random.chance(0.3) ? json(random, 4) : change(random, before))
    })
  })

  it("L5: follow a list of rows through inserts, removals, moves and updates", () => {
    forAll(400, (random) => {
      let now = rows(random, random.int(12), 2)
      for (let step = 0; step < 4; step++) {
        const next = changeRows(random, now)
        checkRoundTrip(now, next)
        checkRoundTrip({ page: { rows: now } }, { page: { rows: next } })
        now = next
      }
    })
  })

  it("agree with Effect's own JSON Patch", () => {
    forAll(500, (random) => {
      const before = json(random, 4)
      const after = change(random, before)
      const patch = make(before, after)
      if (!patch.some((op) => op.op === "move")) {
        expect(canonical(JsonPatch.apply(patch as JsonPatch.JsonPatch, before))).toBe(canonical(after))
      }
      expect(canonical(applied(before, JsonPatch.get(before, after)))).toBe(canonical(after))
    })
  })

  it("handle unusual property names", () => {
    const before = object(names.map((name) => [name, 1]))
    const after = object(names.map((name) => [name, object([[name, 2]])]))
    expect(checkRoundTrip(before, after).length).toBe(names.length)
    expect(checkRoundTrip({}, before).length).toBe(names.length)
    expect(checkRoundTrip(before, {}).length).toBe(names.length)
    expect(checkRoundTrip({ a: after }, { a: object([...Object.entries(after), ["z", 1]]) }).length).toBe(1)
  })

  it("never change a prototype", () => {
    const polluted = applied({ a: {} }, [
      { op: "add", path: "/__proto__", value: { polluted: true } },
      { op: "add", path: "/a/__proto__", value: { polluted: true } },
      { op: "replace", path: "/a/__proto__/polluted", value: 1 }
    ])
    expect(Object.getPrototypeOf(polluted)).toBe(Object.prototype)
    expect(JSON.stringify(polluted)).toBe('{"a":{"__proto__":{"polluted":1}},"__proto__":{"polluted":true}}')
    expect(({} as any).polluted).toBe(undefined)
    for (const path of ["/__proto__/x", "/constructor/prototype/x", "/toString"]) {
      expect(failure({}, [{ op: "replace", path, value: 1 }])?.[2]).toBe("PathNotFound")
    }
  })
})

describe("make", () => {
  it("returns no operations for equal values", () => {
    forAll(300, (random) => {
      const value = json(random, 4)
      expect(make(value, structuredClone(value))).toEqual([])
    })
    expect(make({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual([])
    expect(make([0], [-0])).toEqual([])
  })

  it("replaces the root when the types differ", () => {
    expect(make(1, 2)).toEqual([{ op: "replace", path: "", value: 2 }])
    expect(make({}, [])).toEqual([{ op: "replace", path: "", value: [] }])
    expect(make(null, {})).toEqual([{ op: "replace", path: "", value: {} }])
    expect(make(list(1, 2), list(3))).toEqual([{ op: "replace", path: "", value: list(3) }])
  })

  it("L5: needs two operations when a page of 1,000 rows gets a row at the top and loses the last one", () => {
    const before = list(...Array.from({ length: 1000 }, (_, i) => i))
    const after = [...list("new"), ...structuredClone(before.slice(0, -1))]
    expect(checkRoundTrip(before, after)).toEqual([
      { op: "remove", path: "/999" },
      { op: "add", path: "/0", value: after[0] }
    ])
  })

  it("updates the properties of a row, even if the row moved", () => {
    const after = [{ id: 3, text: "changed" }, ...list(1, 2)]
    expect(checkRoundTrip(list(1, 2, 3), after)).toEqual([
      { op: "move", from: "/2", path: "/0" },
      { op: "replace", path: "/0/text", value: "changed" }
    ])
  })

  it("moves as few rows as possible", () => {
    forAll(400, (random) => {
      const before = list(...random.array(random.int(9), (i) => i))
      const after = [
        ...random.shuffle(before).slice(0, random.int(12)),
        ...list(...random.array(random.int(3), (i) => `new ${i}`))
      ]
      if (random.chance(0.5)) after.sort(() => random.int(3) - 1)
      const patch = checkRoundTrip(before, after)
      const kept = after.filter((row) => before.includes(row)).map((row) => before.indexOf(row))
      if (kept.length === 0) return
      // The largest subset of the remaining rows that is in order does not need to move.
      let still = 0
      for (let subset = 0; subset < 2 ** kept.length; subset++) {
        const chosen = kept.filter((_, i) => subset & (1 << i))
        if (chosen.every((value, i) => i === 0 || chosen[i - 1]! < value)) still = Math.max(still, chosen.length)
      }
      const count = (op: Operation["op"]) => patch.filter((_) => _.op === op).length
      expect(count("move")).toBe(kept.length - still)
      expect(count("remove")).toBe(before.length - kept.length)
      expect(count("add")).toBe(after.length - kept.length)
      expect(patch.some((op) => op.op === "move" && op.from === op.path)).toBe(false)
    })
  })

  it('distinguishes the row keys 1 and "1"', () => {
    const patch = checkRoundTrip(list(1, "1"), list("1", 1))
    expect(patch.map((op) => op.op)).toEqual(["move"])
  })

  it("compares by index when rows have no key, or share one", () => {
    expect(
      checkRoundTrip(
        [
          { id: 1, a: 1 },
          { id: 1, a: 2 }
        ],
        [
          { id: 1, a: 2 },
          { id: 1, a: 3 }
        ]
      )
    ).toEqual([
      { op: "replace", path: "/0/a", value: 2 },
      { op: "replace", path: "/1/a", value: 3 }
    ])
    expect(checkRoundTrip([{ id: null, a: 1 }], [{ id: null, a: 2 }])).toEqual([
      { op: "replace", path: "/0/a", value: 2 }
    ])
    expect(checkRoundTrip([...list(1), 2], [2, ...list(1)]).length).toBe(2)
  })

  it("accepts another row key", () => {
    const before = [{ slug: "a" }, { slug: "b" }, { slug: "c" }]
    const after = [{ slug: "c" }, { slug: "a" }, { slug: "b" }]
    expect(make(before, after, "slug")).toEqual([{ op: "move", from: "/2", path: "/0" }])
    expect(make(before, after).length).toBe(3)
  })

  it("leaves out the common beginning and end of other arrays", () => {
    expect(checkRoundTrip(["a", "b", "c", "d"], ["a", "x", "b", "c", "d"])).toEqual([
      { op: "add", path: "/1", value: "x" }
    ])
    expect(checkRoundTrip(["a", "b", "c", "d"], ["a", "d"])).toEqual([
      { op: "remove", path: "/2" },
      { op: "remove", path: "/1" }
    ])
    expect(checkRoundTrip([["a", 1], "z"], [["a", 2], "z"])).toEqual([{ op: "replace", path: "/0/1", value: 2 }])
  })
})

describe("apply", () => {
  it("shares unchanged parts with the given value", () => {
    const before = freeze({ rows: list(1, 2, 3, 4), other: { deep: [1] } })
    const after = applied(before, [
      { op: "remove", path: "/rows/3" },
      { op: "move", from: "/rows/2", path: "/rows/0" },
      { op: "replace", path: "/rows/1/text", value: "changed" }
    ])
    expect(after.other).toBe(before.other)
    expect(after.rows[0]).toBe(before.rows[2])
    expect(after.rows[1]).toEqual({ id: 1, text: "changed" })
    expect(after.rows[2]).toBe(before.rows[1])
    expect(applied(before, [])).toBe(before)
  })

  it("L5: keeps every row that did not change, in any list", () => {
    forAll(300, (random) => {
      const before = freeze(rows(random, random.int(12), 2))
      const after: Array<Row> = changeRows(random, before)
      const outcome = applied(before, make(before, after))
      // A list with only new rows is replaced as a whole: there is no row to keep.
      after.forEach((row, i) => {
        if (before.includes(row)) expect(outcome[i]).toBe(row)
      })
    })
  })

  it("does not change the values that operations carry", () => {
    const value = freeze({ list: [1], object: {} })
    const patch = freeze<Patch>([
      { op: "add", path: "/a", value },
      { op: "add", path: "/b", value },
      { op: "add", path: "/a/list/-", value: 2 },
      { op: "remove", path: "/b/list/0" },
      { op: "move", from: "/a/list", path: "/b/object/list" },
      { op: "add", path: "/b/object/list/0", value: 0 }
    ])
    expect(applied({}, patch)).toEqual({ a: { object: {} }, b: { list: [], object: { list: [0, 1, 2] } } })
  })

  it("copies a list once for all operations on it", () => {
    let copies = 0
    class Counted extends Array<Json> {
      override slice(start?: number, end?: number) {
        copies++
        return Array.from(this as Array<Json>).slice(start, end)
      }
    }
    const before = Counted.from(list(...Array.from({ length: 200 }, (_, i) => i))) as unknown as Json
    const patch = Array.from({ length: 200 }, (_, i): Operation => ({ op: "replace", path: `/${i}/text`, value: "x" }))
    expect(applied(before, [...patch, ...patch, { op: "remove", path: "/0" }]).length).toBe(199)
    expect(copies).toBe(1)
  })

  it("applies a large patch to a large list", () => {
    const size = 20_000
    const before = list(...Array.from({ length: size }, (_, i) => i))
    const after = before.toReversed()
    const patch = make(before, after)
    expect(patch.length).toBe(size - 1)
    expect(applied(before, patch)).toEqual(after)
  })

  it("follows RFC 6902 in edge cases", () => {
    expect(applied([1], [{ op: "add", path: "/-", value: 2 }])).toEqual([1, 2])
    expect(applied([1], [{ op: "add", path: "/1", value: 2 }])).toEqual([1, 2])
    expect(applied({ a: 1 }, [{ op: "add", path: "/a", value: 2 }])).toEqual({ a: 2 })
    expect(applied({ a: 1 }, [{ op: "add", path: "", value: 2 }])).toBe(2)
    expect(applied({ a: { b: 1 } }, [{ op: "move", from: "/a", path: "" }])).toEqual({ b: 1 })
    expect(applied({ a: [1] }, [{ op: "move", from: "/a/0", path: "/a/-" }])).toEqual({ a: [1] })
    expect(applied({ a: 1 }, [{ op: "move", from: "/a", path: "/a" }])).toEqual({ a: 1 })
    expect(applied({ a: 1 }, [{ op: "move", from: "", path: "" }])).toEqual({ a: 1 })
    expect(applied({ a: 1, ab: {} }, [{ op: "move", from: "/a", path: "/ab/c" }])).toEqual({ ab: { c: 1 } })
    expect(applied({ "": { "": 1 } }, [{ op: "replace", path: "//", value: 2 }])).toEqual({ "": { "": 2 } })
    expect(applied({ "~1": 1 }, [{ op: "remove", path: "/~01" }])).toEqual({})
  })

  it.each<readonly [Json, Operation, path: string, reason: string]>([
    [{}, { op: "remove", path: "" }, "", "RootRemoved"],
    [{}, { op: "remove", path: "/a" }, "/a", "PathNotFound"],
    [{}, { op: "replace", path: "/a", value: 1 }, "/a", "PathNotFound"],
    [{}, { op: "add", path: "/a/b", value: 1 }, "/a/b", "PathNotFound"],
    [{ a: 1 }, { op: "add", path: "/a/b", value: 1 }, "/a/b", "PathNotFound"],
    [{ a: null }, { op: "add", path: "/a/b", value: 1 }, "/a/b", "PathNotFound"],
    ["text", { op: "add", path: "/0", value: 1 }, "/0", "PathNotFound"],
    [[1], { op: "add", path: "/2", value: 1 }, "/2", "IndexOutOfBounds"],
    [[1], { op: "add", path: `/${"9".repeat(30)}`, value: 1 }, `/${"9".repeat(30)}`, "IndexOutOfBounds"],
    [[1], { op: "remove", path: "/1" }, "/1", "IndexOutOfBounds"],
    [[1], { op: "replace", path: "/1/a", value: 1 }, "/1/a", "IndexOutOfBounds"],
    [[1], { op: "remove", path: "/-" }, "/-", "InvalidIndex"],
    [[1], { op: "add", path: "/00", value: 1 }, "/00", "InvalidIndex"],
    [[1], { op: "add", path: "/-1", value: 1 }, "/-1", "InvalidIndex"],
    [[1], { op: "add", path: "/0.5", value: 1 }, "/0.5", "InvalidIndex"],
    [[1], { op: "replace", path: "/length", value: 0 }, "/length", "InvalidIndex"],
    [{ a: 1 }, { op: "remove", path: "a" }, "a", "InvalidPointer"],
    [{ "~": 1 }, { op: "remove", path: "/~" }, "/~", "InvalidPointer"],
    [{ "~2": 1 }, { op: "remove", path: "/~2" }, "/~2", "InvalidPointer"],
    [{ a: {} }, { op: "move", from: "/a", path: "/a/b" }, "/a/b", "MovedIntoItself"],
    [{ a: {} }, { op: "move", from: "", path: "/a" }, "/a", "MovedIntoItself"],
    [{ a: 1 }, { op: "move", from: "/b", path: "/a" }, "/b", "PathNotFound"],
    [{ a: 1 }, { op: "move", from: "/b", path: "/b" }, "/b", "PathNotFound"],
    [{ a: 1 }, { op: "move", from: "/a", path: "/b/c" }, "/b/c", "PathNotFound"],
    [[1, 2], { op: "move", from: "/0", path: "/2" }, "/2", "IndexOutOfBounds"],
    [{ a: 1 }, { op: "move", from: "/a", path: "b" }, "b", "InvalidPointer"]
  ])("S1: %j with %j fails with a typed error", (value, op, path, reason) => {
    expect(failure(value, [op])).toEqual([0, path, reason])
    expect(failure(value, [{ op: "replace", path: "", value }, op])).toEqual([1, path, reason])
  })

  it("S1: fails on operations that were not decoded", () => {
    const garbage: ReadonlyArray<any> = [
      null,
      1,
      "add",
      [],
      {},
      { op: "test", path: "/a", value: 1 },
      { op: "copy", from: "/a", path: "/b" }
    ]
    for (const op of garbage) expect(failure({ a: 1 }, [op])).toEqual([0, "", "InvalidOperation"])
    expect(failure({ a: 1 }, [{ op: "add", path: "/b" } as any])?.[2]).toBe("InvalidOperation")
    expect(failure({ a: 1 }, [{ op: "remove" } as any])?.[2]).toBe("InvalidPointer")
    expect(failure({ a: 1 }, [{ op: "move", from: {}, path: [] } as any])?.[2]).toBe("InvalidPointer")
  })

  it("S1: never throws, and never changes its input", () => {
    const tokens = [...names, "1", "2", "~", "~2", "%"]
    const pointer = (random: Random) =>
      random.chance(0.1)
        ? random.pick(["", "a", "/~", " "])
        : random.array(random.int(4), () => `/${random.pick(tokens)}`).join("")
    forAll(3000, (random) => {
      const value = freeze(json(random, 4))
      const patch = freeze(
        random.array(1 + random.int(4), (): Operation => {
          const path = pointer(random)
          const op = random.pick(["add", "remove", "replace", "move"] as const)
          if (op === "move") return { op, from: pointer(random), path }
          return op === "remove" ? { op, path } : { op, path, value: json(random, 2) }
        })
      )
      const result = apply(value, patch)
      if (Result.isFailure(result)) {
        expect(result.failure).toBeInstanceOf(PatchError)
        expect(result.failure.message).toContain(result.failure.reason)
      } else {
        expect(canonical(result.success)).toBe(canonical(applyPlainly(value, patch)))
      }
    })
  })

  it("handles a pointer and a value deeper than the call stack", () => {
    const depth = 20_000
    let value: Json = 1
    for (let i = 0; i < depth; i++) value = { a: value }
    expect(Result.isSuccess(apply(value, [{ op: "replace", path: "/a".repeat(depth), value: 2 }]))).toBe(true)
    expect(failure([], [{ op: "remove", path: `/${"x".repeat(5_000_000)}` }])?.[2]).toBe("InvalidIndex")
  })
})

describe("Operation", () => {
  const decode = Schema.decodeUnknownResult(Patch)

  it("decodes what make encodes, including an own __proto__", () => {
    const text = '[{"op":"add","path":"/a","value":{"__proto__":{"x":1}}},{"op":"move","from":"/a","path":"/b"}]'
    expect(JSON.stringify(Result.getOrThrow(decode(JSON.parse(text))))).toBe(text)
  })

  it("S1: a patch is an array, and what is outside of the subset is refused when it is applied", () => {
    expect(Result.isFailure(decode({}))).toBe(true)
    expect(Result.isFailure(decode(null))).toBe(true)
    const garbage = [
      { op: "test", path: "", value: 1 },
      { op: "copy", from: "", path: "/a" },
      { op: "add", path: "/a" },
      { op: "remove" },
      { op: "move", path: "/a" },
      null
    ]
    for (const op of garbage) {
      const decoded = Result.getOrThrow(decode(JSON.parse(JSON.stringify([op]))))
      expect(Result.isFailure(apply({ a: 1 }, decoded))).toBe(true)
    }
  })
})
