import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Who is calling, as the front door verified it. */
export const Identity = Schema.Struct({
  /** The caller's id, or `null` for a caller that nobody vouched for. */
  subject: Schema.NullOr(Schema.String),
  /** What else is known of the caller. */
  claims: Schema.Record(Schema.String, Schema.Json)
})
export type Identity = typeof Identity.Type

export const anonymous: Identity = { subject: null, claims: {} }

/** Gives handlers the caller. A live query that never asks is shared by all callers. */
export class Auth extends Context.Service<Auth, { readonly identity: Effect.Effect<Identity> }>()(
  "effect-dormouse/Auth"
) {}

/** Who is calling. */
export const identity: Effect.Effect<Identity, never, Auth> = Effect.flatMap(Auth, (auth) => auth.identity)
