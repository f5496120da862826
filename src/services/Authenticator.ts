/**
 * The port of the Auth service: who is calling, from the credentials of a request.
 * A1: without a token there is no identity, and a token that is wrong is refused, never anonymous. A2: claims are what was
 * signed. The gateway uses it for each request over HTTP, for each socket, and for each new token of a socket.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Credential, Identity } from "../contract/Auth.ts"
import type { Forbidden, Unauthenticated, Unavailable } from "../protocol/CallError.ts"

/** What a request says of its caller. Nothing of it is verified. */
export interface Credentials {
  /** The bearer token. Not empty. */
  readonly token: string | undefined
  /**
   * The request that opens a socket or carries a call, with all its headers. For a new token of an open socket it has the
   * token alone.
   */
  readonly request: Request
  /** Whether this is a new token of an open socket. The request that opened it was accepted. */
  readonly isRenewal?: boolean
}

/** A caller, and what is known of its token. */
export interface Verified {
  readonly identity: Identity
  readonly credential: Credential
}

/** Why a caller is refused: its token, the app that it uses, or because the keys cannot be read that would verify it. */
export type Refusal = Unauthenticated | Forbidden | Unavailable

/** Verifies callers. */
export class Authenticator extends Context.Service<
  Authenticator,
  {
    /**
     * Who is calling. `None` when the token is not for this authenticator, for example because another issuer made it: then
     * the next one is asked, and the caller is refused if there is none.
     */
    readonly authenticate: (credentials: Credentials) => Effect.Effect<Option.Option<Verified>, Refusal>
    /** Answers requests to paths of its own, such as `/.well-known/jwks.json`. */
    readonly respond?: (request: Request) => Effect.Effect<Option.Option<Response>>
  }
>()("effect-dormouse/services/Authenticator") {}

/** The credential of a caller without a token, or of one whose token says nothing of itself. */
export const noCredential: Credential = { expires: null, issued: null, session: null }
