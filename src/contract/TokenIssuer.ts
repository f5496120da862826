/**
 * The port for tokens that this deployment issues itself. Actions have it; `Auth.layerLocal` implements it with keys of its
 * own. What it issues, the same layer accepts.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Unavailable } from "../protocol/CallError.ts"
import type { Identity } from "./Auth.ts"

/** Whom a token is for. */
export interface TokenRequest {
  readonly subject: string
  readonly claims: Identity["claims"]
  /** How long the token is accepted. */
  readonly expiresIn: Duration.Input
  /** The session that the token belongs to, by which it can be revoked. */
  readonly session?: string
}

/** A signed token. */
export interface IssuedToken {
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly expires: number
}

/** Issues tokens. */
export class TokenIssuer extends Context.Service<
  TokenIssuer,
  { readonly issue: (request: TokenRequest) => Effect.Effect<IssuedToken, Unavailable> }
>()("effect-dormouse/services/TokenIssuer") {}
