/**
 * The identity of the caller, and the services through which handlers read it.
 * The gateway establishes the identity once per request or socket, and again when a socket gets a new token. Nothing else
 * that a client sends changes it. What only handlers use is marked as pure: apps that do not use it are bundled without it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CallError, Forbidden, Unauthenticated } from "../protocol/CallError.ts"

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

/** The deployment itself, as the caller of what runs in nobody's name: jobs of the system, and calls of its own objects. */
export const system: Identity = { subject: null, claims: { system: true } }

/** Whether the caller is the system. No token is: each has a subject. */
export const isSystem = ({ claims, subject }: Identity): boolean => subject === null && claims["system"] === true

/** What is known of the token that an identity comes from. Times are milliseconds since the epoch. */
export const Credential = Schema.Struct({
  /** From this time on the token is not accepted. `null` if it does not expire. */
  expires: Schema.NullOr(Schema.Number),
  /** When the token was issued: a revocation says up to when tokens are refused. `null` if the token does not say so. */
  issued: Schema.NullOr(Schema.Number),
  /** The session that the token belongs to (`sid`, or else `jti`), which can be revoked alone. */
  session: Schema.NullOr(Schema.String)
})
/** What is known of the token that an identity comes from. */
export type Credential = typeof Credential.Type

/** The caller of the running rpc. The engine sets it for each call; anonymous unless set. */
export const CurrentIdentity: Context.Reference<Identity> = Context.Reference<Identity>(
  "effect-dormouse/CurrentIdentity",
  { defaultValue: () => anonymous }
)

/**
 * The network of the caller of the running action, where the platform knows it: an IPv4 address, or the first 64 bits of an IPv6
 * address. The Worker sets it. It is made for counting.
 */
export const CurrentNetwork: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-dormouse/CurrentNetwork",
  { defaultValue: () => undefined }
)

/** Gives handlers the caller's identity. A live query that never reads it is shared by all callers. */
export class Auth extends Context.Service<Auth, { readonly identity: Effect.Effect<Identity> }>()(
  "effect-dormouse/Auth"
) {}

/** The identity of the caller. */
export const identity: Effect.Effect<Identity, never, Auth> = /* @__PURE__ */ Effect.flatMap(
  Auth,
  (auth) => auth.identity
)

/** A caller who is signed in, with claims of the author's own type. */
export interface SignedIn<Claims> {
  readonly subject: string
  readonly claims: Claims
}

/** The failure of `require`. */
export const forbidden: CallError = /* @__PURE__ */ new CallError({ reason: /* @__PURE__ */ new Forbidden() })

const unauthenticated = /* @__PURE__ */ new CallError({
  reason: /* @__PURE__ */ new Unauthenticated({ problem: "missing" })
})

/** Fails with `Forbidden` unless the condition holds for the caller. */
export const require = (condition: (identity: Identity) => boolean): Effect.Effect<void, CallError, Auth> =>
  Effect.flatMap(identity, (identity) => (condition(identity) ? Effect.void : Effect.fail(forbidden)))

/** The caller's claims as a schema reads them. Fails with `Forbidden` when they do not fit. */
export const requireClaims = <Claims, Encoded>(
  schema: Schema.Codec<Claims, Encoded>
): Effect.Effect<Claims, CallError, Auth> => {
  const decode = Schema.decodeUnknownOption(Schema.toCodecJson(schema))
  return Effect.flatMap(identity, ({ claims }) =>
    Option.match(decode(claims), { onNone: () => Effect.fail(forbidden), onSome: Effect.succeed })
  )
}

/** What `Service` declares: an effect of the caller who is signed in. */
export interface Service<Self, Claims> extends Effect.Effect<SignedIn<Claims>, CallError, Auth> {
  new (_: never): { readonly "~effect-dormouse/Auth/Service": Self }
  readonly key: string
  readonly claims: Schema.Codec<Claims, any>
  /** The caller if somebody is signed in. */
  readonly option: Effect.Effect<Option.Option<SignedIn<Claims>>, never, Auth>
  /** The caller. Fails with `Unauthenticated` when nobody is signed in, and with `Forbidden` unless the condition holds. */
  readonly require: (condition: (me: SignedIn<Claims>) => boolean) => Effect.Effect<SignedIn<Claims>, CallError, Auth>
}

/** A declaration of any type, as the gateway sees it. */
export interface AnyService {
  readonly key: string
  readonly claims: Schema.Codec<any, any>
}

/**
 * Declares who may be calling: the schema of the claims. Give it to `App.make` as `identity`: the gateway then refuses a
 * token whose claims do not fit. In handlers the class is an effect of the caller, which fails with `Unauthenticated` when
 * nobody is signed in.
 *
 *     class Me extends Auth.Service<Me>()("chat/Me", { claims: Schema.Struct({ name: Schema.String }) }) {}
 *     const me = yield* Me
 */
export const Service =
  <Self>() =>
  <Claims, Encoded>(
    key: string,
    options: { readonly claims: Schema.Codec<Claims, Encoded> }
  ): Service<Self, Claims> => {
    const decode = Schema.decodeUnknownExit(Schema.toCodecJson(options.claims))
    // An identity is one object for all calls of a caller.
    const signedIn = memoize((identity: Identity): Exit.Exit<Option.Option<SignedIn<Claims>>> => {
      const { subject } = identity
      if (subject === null) return Exit.succeed(Option.none())
      const claims = decode(identity.claims)
      return Exit.isSuccess(claims)
        ? Exit.succeed(Option.some({ subject, claims: claims.value }))
        : Exit.die(new Error(`the claims do not fit ${key}: give it to App.make as \`identity\``))
    })
    const option = Effect.flatMap(identity, signedIn)
    const me = Effect.flatMap(
      option,
      Option.match({ onNone: () => Effect.fail(unauthenticated), onSome: Effect.succeed })
    )
    class Declared {}
    // The class itself is the effect: its prototype is that of an effect.
    Object.setPrototypeOf(Declared, Effectable.Prototype({ label: `Auth.Service(${key})`, evaluate: () => me }))
    const members = {
      key,
      claims: options.claims,
      option,
      require: (condition: (me: SignedIn<Claims>) => boolean) =>
        Effect.flatMap(me, (me) => (condition(me) ? Effect.succeed(me) : Effect.fail(forbidden)))
    }
    // The prototype makes the class an effect of `me`, and nothing constructs it.
    return Object.assign(Declared, members) as unknown as Service<Self, Claims>
  }
