/**
 * The service that publishes to topics.
 * A topic's own `publish` uses it: handlers need not.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"

/** A message on its way to the readers of a topic. */
export const Published = Schema.Struct({
  topic: Schema.String,
  /** The encoded key. */
  key: Schema.Json,
  /** The JSON text of the message. */
  message: Schema.String
})
/** A message on its way to the readers of a topic. */
export type Published = typeof Published.Type

/** Publishes. In a mutation it belongs to the transaction; in an action it acts at once. */
export class Publisher extends Context.Service<
  Publisher,
  { readonly publish: (message: Published) => Effect.Effect<void, CallError> }
>()("effect-dormouse/Publisher") {}
