/**
 * The options with which an rpc of any kind is declared.
 * `Query.make`, `Mutation.make` and `Action.make` take them.
 */
import * as Schema from "effect/Schema"

/** The schemas of an rpc. Each is `Schema.Void` unless given, `error` is `Schema.Never`. */
export interface Options<
  Payload extends Schema.Top | Schema.Struct.Fields,
  Success extends Schema.Top,
  Error extends Schema.Top
> {
  /** A schema, or the fields of a struct. */
  readonly payload?: Payload
  readonly success?: Success
  readonly error?: Error
}

/** The schema of a payload that was given as a schema or as the fields of a struct. */
export type PayloadSchema<Payload extends Schema.Top | Schema.Struct.Fields> = Payload extends Schema.Struct.Fields
  ? Schema.Struct<Payload>
  : Payload

/** The schema of what was given as a schema or as the fields of a struct. */
export const schemaOf = <Payload extends Schema.Top | Schema.Struct.Fields>(
  payload: Payload
): PayloadSchema<Payload> => {
  const schema: unknown = Schema.isSchema(payload) ? payload : Schema.Struct(payload as Schema.Struct.Fields)
  // What is no schema is the fields of a struct, as `PayloadSchema` says of the types.
  return schema as PayloadSchema<Payload>
}
