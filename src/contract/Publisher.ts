/**
 * The service that publishes to topics.
 * A topic's own `publish` uses it: handlers need not.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"

/** Messages on their way to the readers of one key of a topic, in their order. */
export const Published = Schema.Struct({
  topic: Schema.String,
  /** The encoded key. */
  key: Schema.Json,
  /** The JSON texts of the messages. */
  messages: Schema.Array(Schema.String)
})
/** Messages on their way to the readers of one key of a topic, in their order. */
export type Published = typeof Published.Type

/** Publishes. In a mutation it belongs to the transaction; in an action it acts at once. */
export class Publisher extends Context.Service<
  Publisher,
  { readonly publish: (published: Published) => Effect.Effect<void, CallError> }
>()("effect-dormouse/Publisher") {}
