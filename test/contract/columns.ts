import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import type { Random } from "../random.ts"

/** A field of a random model, its values, and the type with which SQLite stores them. */
export interface ColumnType {
  readonly name: string
  readonly schema: Schema.Top | { readonly schemas: Record<string, Schema.Top> }
  readonly value: (random: Random) => unknown
  readonly sql: "text" | "integer" | "real" | "blob"
}

const characters = ["a", "B", "é", "\u0000", "'", '"', "\u{1f600}", "\uffff", "\u{10ffff}", "\u0301", " ", "\n"]
export const text = (random: Random): string => random.array(random.int(6), () => random.pick(characters)).join("")
const int = (random: Random): number =>
  random.pick([0, 1, -1, random.int(1000), 2 ** 31, -(2 ** 53 - 1), Number.MAX_SAFE_INTEGER])
const finite = (random: Random): number =>
  random.pick([0, 0.1, -1.5, random.next() * 1e6, 5e-324, Number.MAX_VALUE, 2 ** 60, 1])
const float = (random: Random): number =>
  random.chance(0.3) ? random.pick([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) : finite(random)
export const bigint = (random: Random): bigint => {
  const digits = random.pick([1, 3, 19, 20, 40, 400])
  const value = BigInt(random.array(digits, () => random.int(10)).join(""))
  return random.chance(0.5) ? -value : value
}
export const bytes = (random: Random): Uint8Array =>
  Uint8Array.from(random.array(random.int(6), () => random.int(256))).subarray(random.int(2))
const time = (random: Random) => DateTime.makeUnsafe(random.int(2 ** 31) * random.pick([1, 1000, -1]))
const key = (random: Random) => random.pick(["a", "b", "__proto__", "constructor", "", text(random)])

class Point extends Schema.Class<Point>("columns/Point")({ x: Schema.Int, y: Schema.Finite }) {}
const point = (random: Random) => new Point({ x: int(random), y: finite(random) })

interface Tree {
  readonly value: number
  readonly children: ReadonlyArray<Tree>
}
const Tree = Schema.Struct({
  value: Schema.Int,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})
const tree = (random: Random, depth = 3): Tree => ({
  value: int(random),
  children: depth === 0 ? [] : random.array(random.int(3), () => tree(random, depth - 1))
})

const json = (random: Random, depth = 2): Schema.Json =>
  random.pick<() => Schema.Json>([
    () => null,
    () => text(random),
    () => finite(random),
    () => random.chance(0.5),
    () => (depth === 0 ? 1 : random.array(random.int(3), () => json(random, depth - 1))),
    () =>
      depth === 0
        ? "leaf"
        : Object.fromEntries(random.array(random.int(3), () => [key(random), json(random, depth - 1)]))
  ])()

/** Types whose values have an order in SQLite. */
export const plain: ReadonlyArray<ColumnType> = [
  { name: "String", schema: Schema.String, value: text, sql: "text" },
  { name: "Int", schema: Schema.Int, value: int, sql: "integer" },
  { name: "Number", schema: Schema.Number, value: float, sql: "real" },
  { name: "Finite", schema: Schema.Finite, value: finite, sql: "real" },
  { name: "Boolean", schema: Schema.Boolean, value: (random) => random.chance(0.5), sql: "integer" },
  { name: "BigInt", schema: Schema.BigInt, value: bigint, sql: "text" },
  { name: "Uint8Array", schema: Schema.Uint8Array, value: bytes, sql: "blob" },
  { name: "DateTimeUtcFromMillis", schema: Schema.DateTimeUtcFromMillis, value: time, sql: "integer" }
]

const scalar: ReadonlyArray<ColumnType> = [
  ...plain,
  { name: "branded", schema: Schema.Int.pipe(Schema.brand("Count")), value: int, sql: "integer" },
  { name: "Int32", schema: Schema.Number.check(Schema.isInt32()), value: (random) => random.int(1000), sql: "integer" },
  { name: "NonEmptyString", schema: Schema.NonEmptyString, value: (random) => `${text(random)}x`, sql: "text" },
  { name: "DateTimeUtc", schema: Schema.DateTimeUtc, value: time, sql: "text" },
  { name: "DateTimeUtcFromString", schema: Schema.DateTimeUtcFromString, value: time, sql: "text" },
  { name: "Date", schema: Schema.Date, value: (random) => new Date(random.int(2 ** 31)), sql: "text" },
  { name: "NumberFromString", schema: Schema.NumberFromString, value: finite, sql: "text" },
  { name: "Uint8ArrayFromBase64", schema: Schema.Uint8ArrayFromBase64, value: bytes, sql: "text" },
  {
    name: "Literals",
    schema: Schema.Literals(["a", "b", "'c'"]),
    value: (random) => random.pick(["a", "b", "'c'"]),
    sql: "text"
  },
  {
    name: "Literals of numbers",
    schema: Schema.Literals([1, 2]),
    value: (random) => random.pick([1, 2]),
    sql: "integer"
  },
  {
    name: "Literals of floats",
    schema: Schema.Literals([1, 2.5]),
    value: (random) => random.pick([1, 2.5]),
    sql: "real"
  },
  { name: "Literal beyond 2^53", schema: Schema.Literal(2 ** 60), value: () => 2 ** 60, sql: "real" },
  { name: "Literal true", schema: Schema.Literal(true), value: () => true, sql: "integer" },
  { name: "Enum", schema: Schema.Enum({ A: "a", B: "b" }), value: (random) => random.pick(["a", "b"]), sql: "text" },
  {
    name: "Enum of numbers",
    schema: Schema.Enum({ A: 0, B: 1 }),
    value: (random) => random.pick([0, 1]),
    sql: "integer"
  },
  {
    name: "TemplateLiteral",
    schema: Schema.TemplateLiteral(["n", Schema.Int]),
    value: (random) => `n${int(random)}`,
    sql: "text"
  },
  { name: "Int or Finite", schema: Schema.Union([Schema.Int, Schema.Finite]), value: finite, sql: "real" },
  {
    name: "BigDecimal",
    schema: Schema.BigDecimal,
    value: (random) => BigDecimal.make(bigint(random), random.int(5)),
    sql: "text"
  },
  {
    name: "Redacted",
    schema: Schema.Redacted(Schema.String),
    value: (random) => Redacted.make(text(random)),
    sql: "text"
  },
  { name: "BooleanSqlite", schema: Model.BooleanSqlite, value: (random) => random.chance(0.5), sql: "integer" },
  { name: "Sensitive", schema: Model.Sensitive(Schema.String), value: text, sql: "text" },
  {
    name: "JsonFromString",
    schema: Model.JsonFromString(Schema.Struct({ a: Schema.Int })),
    value: (random) => ({ a: int(random) }),
    sql: "text"
  }
]

const nested: ReadonlyArray<ColumnType> = (
  [
    [
      "Struct",
      Schema.Struct({ a: Schema.Int, b: Schema.optionalKey(Schema.BigInt) }),
      (random) => (random.chance(0.5) ? { a: int(random) } : { a: int(random), b: bigint(random) })
    ],
    ["Class", Point, point],
    ["Array", Schema.Array(Schema.Number), (random) => random.array(random.int(4), () => float(random))],
    ["Array of bytes", Schema.Array(Schema.Uint8Array), (random) => random.array(random.int(3), () => bytes(random))],
    ["Tuple", Schema.Tuple([Schema.String, Schema.DateTimeUtc]), (random) => [text(random), time(random)]],
    [
      "Record",
      Schema.Record(Schema.String, Schema.Int),
      (random) => Object.fromEntries(random.array(random.int(4), () => [key(random), int(random)]))
    ],
    ["Tree", Tree, (random) => tree(random)],
    [
      "Union of kinds",
      Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]),
      (random) => random.pick([text(random), finite(random), true])
    ],
    ["Literals of kinds", Schema.Literals(["a", 1, false]), (random) => random.pick(["a", 1, false])],
    [
      "Tagged union",
      Schema.Union([Schema.TaggedStruct("A", { a: Schema.Int }), Schema.TaggedStruct("B", { b: Schema.String })]),
      (random) => (random.chance(0.5) ? { _tag: "A", a: int(random) } : { _tag: "B", b: text(random) })
    ],
    [
      "Option",
      Schema.Option(Schema.String),
      (random) => (random.chance(0.5) ? Option.none() : Option.some(text(random)))
    ],
    ["Unknown", Schema.Unknown, json],
    ["Json", Schema.Json, json],
    [
      "Map",
      Schema.ReadonlyMap(Schema.String, Schema.BigInt),
      (random) => new Map(random.array(random.int(3), () => [text(random), bigint(random)]))
    ],
    ["Set", Schema.ReadonlySet(Schema.Int), (random) => new Set(random.array(random.int(3), () => int(random)))],
    ["Duration", Schema.Duration, (random) => Duration.millis(random.int(1000))]
  ] as ReadonlyArray<readonly [string, Schema.Top, (random: Random) => unknown]>
).map(([name, schema, value]) => ({ name, schema, value, sql: "text" }))

/** The ways in which a field can be absent. `undefined` stands for a missing field. */
const absences: ReadonlyArray<(type: ColumnType & { readonly schema: Schema.Top }) => ColumnType> = [
  (type) => wrap("NullOr", type, Schema.NullOr(type.schema), [null]),
  (type) => wrap("optionalKey", type, Schema.optionalKey(type.schema), [undefined]),
  (type) => wrap("optional", type, Schema.optional(type.schema), [undefined]),
  (type) => wrap("UndefinedOr", type, Schema.UndefinedOr(type.schema), [undefined]),
  (type) => ({
    ...wrap("optionalKey NullOr", type, Schema.optionalKey(Schema.NullOr(type.schema)), [undefined, null]),
    sql: "text"
  }),
  (type) => ({
    ...wrap("optional NullOr", type, Schema.optional(Schema.NullOr(type.schema)), [undefined, null]),
    sql: "text"
  }),
  (type) => inOption("OptionFromNullOr", type, Schema.OptionFromNullOr(type.schema)),
  (type) => inOption("OptionFromOptionalKey", type, Schema.OptionFromOptionalKey(type.schema)),
  (type) => inOption("FieldOption", type, Model.FieldOption(type.schema))
]

const wrap = (name: string, type: ColumnType, schema: Schema.Top, none: ReadonlyArray<unknown>): ColumnType => ({
  name: `${name} ${type.name}`,
  schema,
  value: (random) => (random.chance(0.4) ? random.pick(none) : type.value(random)),
  sql: type.sql
})

const inOption = (name: string, type: ColumnType, schema: ColumnType["schema"]): ColumnType => ({
  name: `${name} ${type.name}`,
  schema,
  value: (random) => (random.chance(0.4) ? Option.none() : Option.some(type.value(random))),
  sql: type.sql
})

/** Types whose values include null: a null that means absent could not be distinguished from a value. */
const holdsNull = new Set(["Unknown", "Json"])

export const columnType = (random: Random): ColumnType => {
  const type = random.pick(random.chance(0.6) ? scalar : nested)
  if (!Schema.isSchema(type.schema) || random.chance(0.5)) return type
  const known = { ...type, schema: type.schema }
  return holdsNull.has(type.name) ? absences[1]!(known) : random.pick(absences)(known)
}
