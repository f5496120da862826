import type * as Schema from "effect/Schema"

/** What an rpc of any kind is declared with. */
export interface Options<
  Payload extends Schema.Top | Schema.Struct.Fields,
  Success extends Schema.Top,
  Error extends Schema.Top
> {
  readonly payload?: Payload
  readonly success?: Success
  readonly error?: Error
}

export type PayloadSchema<Payload extends Schema.Top | Schema.Struct.Fields> = Payload extends Schema.Struct.Fields
  ? Schema.Struct<Payload>
  : Payload
