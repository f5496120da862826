/**
 * Ends the access tokens of accounts and sessions that were ended, before they expire.
 * The only place that does: sessions themselves are rows, and without a row no refresh token is accepted.
 */
import type * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import { revoke } from "../contract/Revocation.ts"
import type { StorageWriter } from "../contract/Storage.ts"
import type { AccountId, SessionId } from "./contract/AccountsApi.ts"

/** Refuses the access tokens of an account, or of one session of it, that were issued until now. */
export const revokeAccess = ({
  account,
  session
}: {
  readonly account: AccountId
  readonly session?: SessionId
}): Effect.Effect<void, never, StorageWriter | SqlClient.SqlClient> =>
  revoke({ subject: account, ...(session !== undefined && { session }) })
