/**
 * What a verified token says of its caller: the claims that handlers may read, and the credential that ends it.
 * Pure: from the payload of a token, and the time, to a caller or the problem.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Credential, Identity } from "../../contract/Auth.ts"
import type { TokenProblem } from "../../protocol/CallError.ts"
import type { Verified } from "../Authenticator.ts"

/** Seconds since the epoch. */
const NumericDate = Schema.Finite

const Payload = Schema.StructWithRest(
  Schema.Struct({
    sub: Schema.NonEmptyString,
    exp: NumericDate,
    iat: Schema.optionalKey(NumericDate),
    sid: Schema.optionalKey(Schema.String),
    jti: Schema.optionalKey(Schema.String)
  }),
  [Identity.fields.claims]
)
const decodePayload = Schema.decodeUnknownOption(Payload)

/** Names that are about the token and not about the caller: those of RFC 7519, and OpenID's for a sign-in. */
export const registered: ReadonlySet<string> = new Set(
  ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"].concat(["sid", "azp", "nonce", "at_hash", "c_hash"])
)

/** Turns the claims of an issuer into those that the app declares. */
export type MapClaims = (claims: Identity["claims"]) => Identity["claims"]

/** The caller of a token, or the problem of the token. Issuer, audience, `nbf` and `exp` are checked already. */
export const toVerified = (
  payload: unknown,
  options: { readonly now: number; readonly clockSkew: number; readonly claims?: MapClaims | undefined }
): Verified | TokenProblem => {
  const decoded = decodePayload(payload)
  if (Option.isNone(decoded)) return "claims"
  const { exp, iat, jti, sid, sub, ...rest } = decoded.value
  if (iat !== undefined && iat * 1000 > options.now + options.clockSkew) return "early"
  const credential: Credential = {
    expires: exp * 1000,
    issued: iat === undefined ? null : iat * 1000,
    session: sid ?? jti ?? null
  }
  if (isExpired(credential, options.now)) return "expired"
  const own = Object.fromEntries(Object.entries(rest).filter(([name]) => !registered.has(name)))
  return { identity: { subject: sub, claims: options.claims?.(own) ?? own }, credential }
}

/** Whether a credential has expired. There is no tolerance: A3. */
export const isExpired = ({ expires }: Credential, now: number): boolean => expires !== null && expires <= now
