/**
 * What every layer that verifies signed tokens is told: whose tokens, for whom, and how their claims are read.
 * Issuer and audience are required: a signature alone says only that somebody holds a key.
 */
import * as Duration from "effect/Duration"
import type { MapClaims } from "./TokenClaims.ts"

/** What every layer that verifies signed tokens is told. */
export interface TokenOptions {
  /** The claim `iss` of the tokens. A token of another issuer is left to the next layer of `layerFirst`. */
  readonly issuer: string
  /** The claim `aud` of a token must name one of these. */
  readonly audience: string | ReadonlyArray<string>
  /** How far the issuer's clock may be ahead, for `iat` and `nbf`. 5 seconds unless given. Expiry has no tolerance. */
  readonly clockSkew?: Duration.Input
  /** Turns the claims of the issuer into those that the app declares. */
  readonly claims?: MapClaims
}

/** What all verifiers are told of the options. */
export const verifierOptions = ({ audience, claims, clockSkew, issuer }: TokenOptions) => ({
  issuer,
  audience,
  claims,
  clockSkew: Duration.toMillis(clockSkew ?? "5 seconds")
})

/** Without an audience, a token for another service of the issuer would be accepted. */
export const requireAudience = ({ audience, issuer }: TokenOptions): void => {
  if (issuer === "" || audience.length === 0 || [audience].flat().includes("")) {
    throw new Error("Auth needs the issuer and the audience of its tokens")
  }
}
