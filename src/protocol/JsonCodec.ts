/**
 * Schemas as the engine uses them: any schema of an author's contract or table, without its types.
 * The one place where a schema loses the types of its values and services.
 */
import * as Schema from "effect/Schema"

/** A schema of values that are not known here. */
export type AnyCodec = Schema.Codec<unknown, unknown>

/**
 * A schema without its types. Its effects still ask for the services that it was declared with: whoever runs them
 * provides the context of the handler or of the client.
 */
// A codec of `unknown` accepts every input and checks it; only the services are missing from its type, see above.
export const untyped = (schema: Schema.Top): AnyCodec => schema as unknown as AnyCodec

/** The schema that reads and writes the JSON form of a schema's values. */
export const jsonCodec = (schema: Schema.Top): AnyCodec => Schema.toCodecJson(untyped(schema))
