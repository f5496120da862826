/**
 * Ends the access tokens of accounts and sessions that were ended, before they expire.
 * The only place that does: sessions themselves are rows, and without a row no refresh token is accepted.
 */
import * as Effect from "effect/Effect"
import type { AccountId, SessionId } from "./contract/AccountsApi.ts"

/** Refuses the access tokens of an account, or of one session of it, that were issued until now. */
export const revokeAccess = (_tokens: {
  readonly account: AccountId
  readonly session?: SessionId
}): Effect.Effect<void> =>
  // `Auth.revoke({ subject, session })` belongs here. Until then an access token is accepted until it expires.
  Effect.void
