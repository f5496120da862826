/**
 * Schemas of an author's contract or tables, without their types, as the engine uses them.
 * The one place where a schema loses the types of its values and services.
 */
import * as Schema from "effect/Schema"

/** A schema of values of unknown type. */
export type AnyCodec = Schema.Codec<unknown, unknown>

/**
 * A schema without its types. Its effects still need the services that the schema was declared with: run them with the
 * context of the handler or of the client.
 */
export const untyped = (schema: Schema.Top): AnyCodec =>
  // A codec of `unknown` takes any input and checks it. Only the services are missing from its type, see above.
  schema as unknown as AnyCodec

/** The codec between a schema's values and their JSON form. */
export const jsonCodec = (schema: Schema.Top): AnyCodec => Schema.toCodecJson(untyped(schema))

/** The same JSON with the properties of every object in one order: a record keeps the order in which it was given. */
export const canonical = (json: unknown): unknown => {
  if (Array.isArray(json)) return json.map(canonical)
  if (typeof json !== "object" || json === null) return json
  const properties: Array<[string, unknown]> = Object.entries(json)
  return Object.fromEntries(
    properties.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, canonical(value)])
  )
}
