/**
 * Who is calling: the service that handlers ask, and the identity behind it.
 * The front door establishes it once; no header, query or message of a client changes it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The caller, as the front door verified it. */
export const Identity = Schema.Struct({
  /** The caller's id, or `null` for an anonymous caller. */
  subject: Schema.NullOr(Schema.String),
  /** What else is known about the caller. */
  claims: Schema.Record(Schema.String, Schema.Json)
})
export type Identity = typeof Identity.Type

/** A caller without an identity. */
export const anonymous: Identity = { subject: null, claims: {} }

/** The caller, before any handler asks. The engine sets it for each call; it is anonymous unless set. */
export const CurrentIdentity: Context.Reference<Identity> = Context.Reference<Identity>(
  "effect-dormouse/CurrentIdentity",
  { defaultValue: () => anonymous }
)

/** Gives handlers the caller. A live query that never asks is shared by all callers. */
export class Auth extends Context.Service<Auth, { readonly identity: Effect.Effect<Identity> }>()(
  "effect-dormouse/Auth"
) {}

/** Who is calling. */
export const identity: Effect.Effect<Identity, never, Auth> = Effect.flatMap(Auth, (auth) => auth.identity)
