/**
 * The service that knows who is here.
 * The `peers` of a presence use it: handlers need not.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"

/** Reads who is here. Queries and mutations have it. */
export class Presences extends Context.Service<
  Presences,
  {
    /** The peers of a presence at an encoded key, as JSON. */
    readonly peers: (presence: string, key: Schema.Json) => Effect.Effect<ReadonlyArray<Schema.Json>>
  }
>()("effect-dormouse/Presences") {}
