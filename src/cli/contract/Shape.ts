/**
 * The JSON that a schema reads and writes, as a document that can be kept in a file: a subset of JSON Schema, with
 * keywords of its own for what JSON Schema does not say. `ShapeOf` makes it, `Compatibility` compares it.
 */
import * as Schema from "effect/Schema"

/** A condition that no keyword of JSON Schema states exactly. Two checks are the same if their JSON is. */
export const Check = Schema.Struct({
  /** The name of the filter, as Effect knows it; `own` for a filter of the author's. */
  id: Schema.String,
  payload: Schema.Json
})
/** A condition that no keyword of JSON Schema states exactly. */
export type Check = typeof Check.Type

/** The values that JSON has and that a literal can be. */
export const Literal = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
/** The values that JSON has and that a literal can be. */
export type Literal = typeof Literal.Type

/** The types of JSON Schema. */
export const Type = Schema.Literals(["null", "boolean", "string", "number", "integer", "array", "object"])

/** The JSON of a schema. Without any keyword it is any JSON. */
export interface Shape {
  readonly $ref?: string
  /** The shapes that refer to themselves; only at the root. */
  readonly $defs?: { readonly [name: string]: Shape }
  readonly type?: typeof Type.Type
  readonly enum?: ReadonlyArray<Literal>
  readonly anyOf?: ReadonlyArray<Shape>
  /** There is no such value. */
  readonly not?: {}
  readonly properties?: { readonly [name: string]: Shape }
  readonly required?: ReadonlyArray<string>
  /** The values of a record. A struct has none: what it does not declare is ignored. */
  readonly additionalProperties?: Shape
  readonly prefixItems?: ReadonlyArray<Shape>
  readonly items?: Shape
  readonly minItems?: number
  readonly maxItems?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number
  readonly pattern?: string
  /** Also the texts `NaN`, `Infinity` and `-Infinity`, which stand for numbers. */
  readonly "x-nonFinite"?: true
  readonly "x-checks"?: ReadonlyArray<Check>
  /** What the JSON is decoded to, where decoding may refuse JSON that fits all the rest. */
  readonly "x-decoded"?: Shape
}

const fields = {
  $ref: Schema.optionalKey(Schema.String),
  type: Schema.optionalKey(Type),
  enum: Schema.optionalKey(Schema.Array(Literal)),
  not: Schema.optionalKey(Schema.Struct({})),
  required: Schema.optionalKey(Schema.Array(Schema.String)),
  minItems: Schema.optionalKey(Schema.Finite),
  maxItems: Schema.optionalKey(Schema.Finite),
  minLength: Schema.optionalKey(Schema.Finite),
  maxLength: Schema.optionalKey(Schema.Finite),
  minimum: Schema.optionalKey(Schema.Finite),
  maximum: Schema.optionalKey(Schema.Finite),
  exclusiveMinimum: Schema.optionalKey(Schema.Finite),
  exclusiveMaximum: Schema.optionalKey(Schema.Finite),
  multipleOf: Schema.optionalKey(Schema.Finite),
  pattern: Schema.optionalKey(Schema.String),
  "x-nonFinite": Schema.optionalKey(Schema.Literal(true)),
  "x-checks": Schema.optionalKey(Schema.Array(Check))
}

const nested = Schema.suspend((): Schema.Codec<Shape> => Shape)
const nestedByName = Schema.Record(Schema.String, nested)

/** The JSON of a schema. Without any keyword it is any JSON. */
export const Shape: Schema.Codec<Shape> = Schema.Struct({
  ...fields,
  $defs: Schema.optionalKey(nestedByName),
  anyOf: Schema.optionalKey(Schema.Array(nested)),
  properties: Schema.optionalKey(nestedByName),
  additionalProperties: Schema.optionalKey(nested),
  prefixItems: Schema.optionalKey(Schema.Array(nested)),
  items: Schema.optionalKey(nested),
  "x-decoded": Schema.optionalKey(nested)
})

/** No value fits. */
export const never: Shape = { not: {} }
