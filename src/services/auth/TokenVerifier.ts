/**
 * Verifies signed tokens (RFC 7519) with the keys of a source, and remembers which tokens it has verified.
 * A5: which tokens are accepted. A7: a token that was verified is accepted again without its signature being computed, as
 * long as it has not expired and the keys are the same.
 */
import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CryptoKey, JWTPayload } from "jose"
import {
  JOSEAlgNotAllowed,
  JWKSNoMatchingKey,
  JWSInvalid,
  JWSSignatureVerificationFailed,
  JWTClaimValidationFailed,
  JWTExpired,
  JWTInvalid
} from "jose/errors"
import { jwtVerify } from "jose/jwt/verify"
import { type TokenProblem, Unauthenticated } from "../../protocol/CallError.ts"
import type { Authenticator, Verified } from "../Authenticator.ts"
import type { KeySet } from "./KeySet.ts"
import type { KeySource } from "./RefreshingKeys.ts"
import { isExpired, type MapClaims, toVerified } from "./TokenClaims.ts"
import { type Header, read } from "./TokenText.ts"

/** Which tokens are accepted. */
export interface VerifierOptions {
  readonly issuer: string
  /** A token must be for one of these. */
  readonly audience: string | ReadonlyArray<string>
  readonly algorithms: ReadonlyArray<string>
  /** Milliseconds by which the issuer's clock may be ahead. */
  readonly clockSkew: number
  readonly claims?: MapClaims | undefined
}

/** Tokens that are remembered. A token has at most 8 KB. */
export const cacheCapacity = 1000

/** Verifies tokens. */
export const make = (
  source: KeySource,
  options: VerifierOptions
): Effect.Effect<Pick<Authenticator["Service"], "authenticate">> =>
  Effect.map(
    Cache.make<string, Verified>({
      capacity: cacheCapacity,
      lookup: () => Effect.die(new Error("tokens are put into this cache when they have been verified"))
    }),
    (cache) => {
      const verify = verifierOf(options)
      /** The keys that verified what is in the cache. */
      let cachedWith: KeySet | undefined

      const remembered = (token: string, keys: KeySet): Effect.Effect<Option.Option<Verified>> =>
        cachedWith === keys ? Cache.getOption(cache, token) : Effect.as(Cache.invalidateAll(cache), Option.none())

      const authenticate: Authenticator["Service"]["authenticate"] = Effect.fnUntraced(function* ({ token }) {
        if (token === undefined) return Option.none()
        const now = yield* Clock.currentTimeMillis
        if (yield* Cache.has(cache, token)) {
          const known = yield* remembered(token, yield* source.current)
          if (Option.isSome(known)) {
            return isExpired(known.value.credential, now) ? yield* refuse("expired") : known
          }
        }
        const text = read(token)
        if (text === undefined) return yield* refuse("malformed")
        if (text.issuer === undefined) return yield* refuse("issuer")
        if (text.issuer !== options.issuer) return Option.none()
        if (!options.algorithms.includes(text.header.alg)) return yield* refuse("algorithm")
        const before = source.loads()
        let keys = yield* source.current
        let outcome = yield* verify(token, text.header, keys, now)
        const isUnknown = outcome === "key" || (outcome === "signature" && text.header.kid === undefined)
        if (isUnknown && source.loads() === before) {
          const newer = yield* source.search
          if (newer !== keys) {
            keys = newer
            outcome = yield* verify(token, text.header, keys, now)
          }
        }
        if (typeof outcome === "string") return yield* refuse(outcome)
        if (cachedWith !== keys) {
          yield* Cache.invalidateAll(cache)
          cachedWith = keys
        }
        yield* Cache.set(cache, token, outcome)
        return Option.some(outcome)
      })
      return { authenticate }
    }
  )

const refuse = (problem: TokenProblem) => Effect.fail(new Unauthenticated({ problem }))

/** Verifies one token. */
const verifierOf = ({ audience, claims, clockSkew, issuer }: VerifierOptions) => {
  const audiences = typeof audience === "string" ? audience : [...audience]
  /** The payload that the key has signed, or the problem. */
  const open = async (token: string, { alg }: Header, key: CryptoKey | Uint8Array, now: number) => {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [alg],
        issuer,
        audience: audiences,
        currentDate: new Date(now),
        // For `nbf`. That there is an expiry, and that it has no tolerance, is checked with the other claims.
        clockTolerance: clockSkew / 1000
      })
      return payload
    } catch (error) {
      return problemOf(error)
    }
  }
  const openWithAny = async (token: string, header: Header, keys: KeySet, now: number) => {
    let opened: JWTPayload | TokenProblem = "key"
    try {
      for (const key of await keys.find(header)) {
        opened = await open(token, header, key, now)
        if (opened !== "signature") break
      }
    } catch (error) {
      return problemOf(error)
    }
    return opened
  }
  return (token: string, header: Header, keys: KeySet, now: number): Effect.Effect<Verified | TokenProblem> =>
    Effect.map(
      Effect.promise(() => openWithAny(token, header, keys, now)),
      (opened) => (typeof opened === "string" ? opened : toVerified(opened, { now, clockSkew, claims }))
    )
}

/** What is wrong with a token that `jose` does not accept. What `jose` cannot use at all is a key. */
const problemOf = (error: unknown): TokenProblem => {
  if (error instanceof JWSInvalid || error instanceof JWTInvalid) return "malformed"
  if (error instanceof JOSEAlgNotAllowed) return "algorithm"
  if (error instanceof JWKSNoMatchingKey) return "key"
  if (error instanceof JWSSignatureVerificationFailed) return "signature"
  if (error instanceof JWTExpired) return "expired"
  if (!(error instanceof JWTClaimValidationFailed)) return "key"
  if (error.claim === "iss") return "issuer"
  if (error.claim === "aud") return "audience"
  return error.claim === "nbf" && error.reason === "check_failed" ? "early" : "claims"
}
