import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { type Mismatch, mismatches } from "../../src/cli/contract/Compatibility.ts"
import { Shape } from "../../src/cli/contract/Shape.ts"
import { shapeOf } from "../../src/cli/contract/ShapeOf.ts"
import { jsonCodec } from "../../src/protocol/JsonCodec.ts"
import { forAll, Violation } from "../random.ts"
import { change, randomSpec, type Spec, toSchema } from "./contractSchemas.ts"

const parties = { sender: "old clients", reader: "the new version" }
const compare = (sent: Shape, read: Shape) => mismatches(sent, read, parties)

/** Values of one schema as they are sent. */
const sample = (schema: Schema.Top, seed: number): ReadonlyArray<unknown> => {
  const values = Effect.runSync(Arbitrary.sampleEffect(Arbitrary.schema(schema), { count: 20, size: 4, seed }))
  const encode = Schema.encodeUnknownSync(jsonCodec(schema))
  return values.map((value) => JSON.parse(JSON.stringify(encode(value))))
}

const isRead = (schema: Schema.Top, json: unknown): boolean =>
  Exit.isSuccess(Effect.runSyncExit(Schema.decodeUnknownEffect(jsonCodec(schema))(json)))

/** Fails if a value that is sent is refused although nothing was found. Gives what was found. */
const checkPair = (
  sent: Spec,
  read: Spec,
  seed: number,
  find: (sent: Shape, read: Shape) => ReadonlyArray<Mismatch>
): ReadonlyArray<Mismatch> => {
  const [one, other] = [toSchema(sent), toSchema(read)]
  const found = find(shapeOf(one), shapeOf(other))
  if (found.length > 0) return found
  for (const json of sample(one, seed)) {
    if (isRead(other, json)) continue
    throw new Violation(
      `${JSON.stringify(sent)} → ${JSON.stringify(read)} is called safe, and refuses ${JSON.stringify(json)}`
    )
  }
  return found
}

describe("two schemas", () => {
  it("CL3: what is called safe is read, whatever is sent", () => {
    let safe = 0
    forAll(600, (random, seed) => {
      const sent = randomSpec(random, 2)
      let read = sent
      for (let i = random.int(3); i >= 0; i--) read = change(random, read)
      if (checkPair(sent, read, seed, compare).length === 0) safe++
    })
    // Otherwise nothing was checked.
    expect(safe).toBeGreaterThan(60)
  })

  it("CL3: a schema reads what it sends itself", () => {
    forAll(300, (random) => {
      const shape = shapeOf(toSchema(randomSpec(random, 3)))
      const found = compare(shape, shape)
      if (found.length > 0)
        throw new Violation(`${JSON.stringify(shape)} does not read itself: ${JSON.stringify(found)}`)
    })
  })

  it("CL3: a shape is the same after it was written to a file and read", () => {
    const codec = Schema.fromJsonString(Shape)
    forAll(100, (random) => {
      const shape = shapeOf(toSchema(randomSpec(random, 3)))
      expect(Schema.decodeUnknownSync(codec)(JSON.stringify(shape))).toEqual(shape)
    })
  })

  /** The comparison with a part of what it looks at left out. */
  const blindTo =
    (keyword: string) =>
    (sent: Shape, read: Shape): ReadonlyArray<Mismatch> => {
      const strip = (json: any): any =>
        Array.isArray(json)
          ? json.map(strip)
          : typeof json === "object" && json !== null
            ? Object.fromEntries(
                Object.entries(json).flatMap(([name, value]) => (name === keyword ? [] : [[name, strip(value)]]))
              )
            : json
      return compare(sent, strip(read))
    }

  it.each(["required", "minLength", "maxItems", "minimum", "exclusiveMaximum", "x-decoded"])(
    "a comparison that does not look at %s calls something safe that is refused",
    (keyword) => {
      expect(() =>
        forAll(3000, (random, seed) => {
          const sent = randomSpec(random, 2)
          checkPair(sent, change(random, change(random, sent)), seed, blindTo(keyword))
        })
      ).toThrow(Violation)
    }
  )
})
