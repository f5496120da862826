/**
 * Revokes tokens before they expire. A revocation is a row that commits or rolls back with its mutation.
 * The object refuses what it matches: on open sockets, on sockets that sleep, and in calls over HTTP.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import { StorageWriter } from "./Storage.ts"

/** Which tokens are not accepted any more. */
export interface Revocation {
  /** Whose tokens. */
  readonly subject: string
  /** Only those of this session (`sid`, or else `jti`), whenever they were issued. */
  readonly session?: string
  /**
   * Only those that were issued before, in milliseconds since the epoch; the time of the mutation unless given. A token that
   * does not say when it was issued counts as issued before. Without effect when there is a `session`.
   */
  readonly before?: number
}

/** The internal table of revocations. `session` is empty in a revocation of all sessions. */
export const revocationTable = "_dormouse_revocations"

/** Revokes tokens in the tenant of the transaction. */
export const revoke = ({
  before,
  session = "",
  subject
}: Revocation): Effect.Effect<void, never, StorageWriter | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    // The requirement of a writer keeps this out of queries.
    yield* StorageWriter
    const sql = yield* SqlClient.SqlClient
    const now = yield* Clock.currentTimeMillis
    const until = before ?? now
    yield* sql`INSERT INTO ${sql(revocationTable)} (subject, session, before, at)
      VALUES (${subject}, ${session}, ${until}, ${Math.max(now, until)})
      ON CONFLICT (subject, session)
      DO UPDATE SET before = max(before, excluded.before), at = max(at, excluded.at)`
  }).pipe(Effect.orDie)
