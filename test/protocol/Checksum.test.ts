import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Query } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import * as ResultCodec from "../../src/engine/rpc/ResultCodec.ts"
import * as Checksum from "../../src/protocol/Checksum.ts"
import * as RpcCodec from "../../src/protocol/RpcCodec.ts"
import { Random } from "../random.ts"
import frames from "./fixtures/frames.json" with { type: "json" }

const seed = Date.now() % 1_000_000_000

const numbers = [0, -0, 1, -1, 12, 21, 1e21, 1e-7, 5e-324, 0.1 + 0.2, 2 ** 53, 1.7976931348623157e308]
const strings = ["", "a", "b", "ab", "1", "null", '"', "\\", "\u0000", "é", "\ud83d\ude00", "\ud800", "__proto__"]
/** Without escapes in JSON: Node 24 reads some objects with several such names wrongly. */
const names = ["", "a", "b", "ab", "1", "12", "null", "é", "\ud83d\ude00", "__proto__"]

const randomJson = (random: Random, depth = 3): Schema.Json => {
  const kind = random.int(depth > 0 ? 8 : 5)
  if (kind === 0) return null
  if (kind === 1) return random.chance(0.5)
  if (kind < 4) return random.chance(0.5) ? random.pick(numbers) : random.int(1000) / 10
  if (kind === 4) return random.pick(strings)
  if (kind < 6) return random.array(random.int(4), () => randomJson(random, depth - 1))
  return randomObject(random, () => randomJson(random, depth - 1))
}

// `JSON.parse` makes a property of `__proto__`, as a client does.
const randomObject = (random: Random, value: () => Schema.Json): Schema.JsonObject =>
  JSON.parse(
    `{${random
      .shuffle(names)
      .slice(0, random.int(4))
      .map((name) => `${JSON.stringify(name)}:${JSON.stringify(value())}`)
      .join(",")}}`
  )

/** The same value with the properties of each object in another order. */
const shuffled = (random: Random, json: Schema.Json): Schema.Json => {
  if (Array.isArray(json)) return json.map((item) => shuffled(random, item))
  if (typeof json !== "object" || json === null) return json
  const entries = Object.entries(json).map(([name, value]) => [name, shuffled(random, value as Schema.Json)])
  return Object.fromEntries(random.shuffle(entries))
}

describe("C2: the checksum of a value", () => {
  it("C2: is that of the protocol's page", () => {
    for (const { json, sum } of frames.sums)
      expect([json, Checksum.ofJson(json as Schema.Json) >>> 0]).toEqual([json, sum])
  })

  it(`C2: is the same in any order of properties, after JSON, and with kept parts (seed ${seed})`, () => {
    const random = new Random(seed)
    for (let i = 0; i < 2000; i++) {
      const json = randomJson(random)
      const sum = Checksum.ofJson(json)
      expect(Checksum.ofJson(JSON.parse(JSON.stringify(shuffled(random, json)))), JSON.stringify(json)).toBe(sum)
      const known = new WeakMap<object, number>()
      expect([Checksum.ofJson(json, known), Checksum.ofJson(json, known)]).toEqual([sum, sum])
    }
  })

  it(`C2: is another one for another value (seed ${seed})`, () => {
    const random = new Random(seed)
    const texts = new Map<number, string>()
    for (let i = 0; i < 5000; i++) {
      const text = JSON.stringify(sortedJson(randomJson(random)))
      const sum = Checksum.ofJson(JSON.parse(text))
      expect(texts.get(sum) ?? text).toBe(text)
      texts.set(sum, text)
    }
    expect(texts.size).toBeGreaterThan(500)
  })

  it("C2: tells values apart that differ in the same places", () => {
    const alike: ReadonlyArray<ReadonlyArray<Schema.Json>> = [
      [[], {}, "", null, 0, false, "[]", "{}", [[]], [{}], [null]],
      [{ a: "a" }, { b: "b" }, { a: "b" }, { b: "a" }, { a: "a", b: "b" }, { a: "b", b: "a" }],
      [{ 1: 1 }, { 2: 2 }, { 1: 2 }, { 2: 1 }, { 1: 1, 2: 2 }, { 1: 2, 2: 1 }],
      [[1, 2], [2, 1], [[1, 2]], [[1], 2], [1, [2]], [12], [1, 2, 0], ["1", "2"]]
    ]
    for (const values of alike) expect(new Set(values.map((json) => Checksum.ofJson(json))).size).toBe(values.length)
  })
})

/** With sorted properties, so that equal values have equal texts. */
const sortedJson = (json: Schema.Json): Schema.Json => {
  if (Array.isArray(json)) return json.map(sortedJson)
  if (typeof json !== "object" || json === null) return json
  const entries = Object.entries(json).map(([name, value]) => [name, sortedJson(value as Schema.Json)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe("C2: the checksum that the server keeps with its rows", () => {
  const Row = Schema.Struct({ id: Schema.String, n: Schema.optional(Schema.Finite), at: Schema.Date })
  const row = { id: "a", n: undefined, at: new Date(0) }
  const results: ReadonlyArray<readonly [string, Schema.Top, unknown]> = [
    ["rows", Schema.Array(Row), [row, { id: "b", n: -0, at: new Date(1) }]],
    ["numbers", Schema.Array(Schema.Number), [Number.NaN, -0, 1e21]],
    [
      "a page",
      Schema.Struct({ items: Schema.Array(Row), next: Schema.NullOr(Schema.String) }),
      { items: [row], next: null }
    ],
    ["a row", Row, row],
    ["nothing", Schema.Void, undefined],
    ["a record", Schema.Record(Schema.String, Schema.Int), { b: 1, a: 2 }],
    ["what is not JSON", Schema.Any, { at: new Date(0), n: Number.NaN, no: undefined, list: [undefined] }],
    ["an empty list", Schema.Array(Row), []]
  ]
  it.each(results)("C2: of %s is that of what a client parses", (_, success, value) => {
    const rpc = RpcCodec.withSchemas(Query.make("q", { payload: {}, success: success as Schema.Codec<unknown> }))
    const encoded = Effect.runSync(ResultCodec.encoderOf(rpc)(value))
    expect(encoded.sum()).toBe(Checksum.ofJson(JSON.parse(encoded.text)))
  })
})
