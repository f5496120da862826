/**
 * The identity of the caller, and the service through which handlers read it.
 * The gateway establishes the identity once per request or socket. Nothing that a client sends later changes it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The caller, as the gateway verified it. */
export const Identity = Schema.Struct({
  /** The caller's id, or `null` for an anonymous caller. */
  subject: Schema.NullOr(Schema.String),
  /** Further facts about the caller, such as its roles. */
  claims: Schema.Record(Schema.String, Schema.Json)
})
/** The caller, as the gateway verified it. */
export type Identity = typeof Identity.Type

/** A caller without an identity. */
export const anonymous: Identity = { subject: null, claims: {} }

/** The caller of the running rpc. The engine sets it for each call; anonymous unless set. */
export const CurrentIdentity: Context.Reference<Identity> = Context.Reference<Identity>(
  "effect-dormouse/CurrentIdentity",
  { defaultValue: () => anonymous }
)

/** Gives handlers the caller's identity. A live query that never reads it is shared by all callers. */
export class Auth extends Context.Service<Auth, { readonly identity: Effect.Effect<Identity> }>()(
  "effect-dormouse/Auth"
) {}

/** The identity of the caller. */
export const identity: Effect.Effect<Identity, never, Auth> = Effect.flatMap(Auth, (auth) => auth.identity)
