/**
 * Whether the token of a session has ended: it has expired by the object's clock, or was revoked.
 * Revocations are rows; here they are a map, which is empty unless there are some, and is read again when a commit adds one.
 */
import * as Duration from "effect/Duration"
import type { Credential, Identity } from "../../contract/Auth.ts"
import { revocationTable } from "../../contract/Revocation.ts"
import type { InternalTable } from "../../contract/Transactional.ts"
import type { Database } from "../../services/Database.ts"
import type { WriteRecorder } from "../../services/storage/ReadSet.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { SessionOptions } from "../rpc/SessionOptions.ts"

/** The table of revocations, with an index by which old ones are found. */
export const revocations: InternalTable = {
  name: revocationTable,
  create:
    `CREATE TABLE ${revocationTable} (subject TEXT NOT NULL, session TEXT NOT NULL, before INTEGER NOT NULL, ` +
    `at INTEGER NOT NULL, PRIMARY KEY (subject, session)) WITHOUT ROWID; ` +
    `CREATE INDEX ${revocationTable}_by_age ON ${revocationTable} (at)`
}

/** Why the token of a session is not accepted any more. */
export type Ended = "expired" | "revoked"

/** The revocations of one subject. */
export interface RevokedSubject {
  /** Tokens that were issued before this time are revoked. */
  before: number
  /** Sessions all of whose tokens are revoked. */
  readonly sessions: Set<string>
}

/** What decides whether a token has ended. */
export interface Deciding {
  readonly now: number
  readonly revoked: ReadonlyMap<string, RevokedSubject>
  readonly maxTokenLifetime: number
}

/** Whether the token of a caller has ended. */
export const endOf = (
  { subject }: Pick<Identity, "subject">,
  credential: Credential | undefined,
  { maxTokenLifetime, now, revoked }: Deciding
): Ended | undefined => {
  const { expires = null, issued = null, session = null } = credential ?? {}
  if (expires !== null && expires <= now) return "expired"
  if (issued !== null && issued + maxTokenLifetime <= now) return "expired"
  const found = subject === null ? undefined : revoked.get(subject)
  if (found === undefined) return undefined
  if (session !== null && found.sessions.has(session)) return "revoked"
  return (issued ?? Number.NEGATIVE_INFINITY) < found.before ? "revoked" : undefined
}

/** What `SessionEnds` works with. */
export interface SessionEndsOptions extends SessionOptions {
  readonly database: Database["Service"]
  /** The time by which tokens expire, in milliseconds. */
  readonly time: () => number
}

/** The ends of the sessions of one object. */
export class SessionEnds {
  /** Whether a session whose token has ended continues as an anonymous caller. */
  readonly becomesAnonymous: boolean
  /** The time by which tokens expire, in milliseconds. */
  readonly time: () => number
  private readonly database: Database["Service"]
  private readonly maxTokenLifetime: number
  private revoked: ReadonlyMap<string, RevokedSubject> = new Map()
  private hasChanged = false

  constructor({ database, expired = "close", maxTokenLifetime, time }: SessionEndsOptions) {
    this.database = database
    this.time = time
    this.becomesAnonymous = expired === "anonymous"
    this.maxTokenLifetime = Duration.toMillis(maxTokenLifetime ?? Duration.infinity)
    if (database.isUnwritten?.() !== true) this.load()
  }

  /** Why the token of a session has ended, if it has. */
  endOf({ credential, identity }: RequestSession): Ended | undefined {
    if (credential === undefined && (identity.subject === null || this.revoked.size === 0)) return undefined
    const { maxTokenLifetime, revoked } = this
    return endOf(identity, credential, { now: this.time(), maxTokenLifetime, revoked })
  }

  /** What tells whether the token of a session has ended; `undefined` when it never can. */
  watch(session: RequestSession): (() => Ended | undefined) | undefined {
    return session.credential === undefined && session.identity.subject === null ? undefined : () => this.endOf(session)
  }

  /** A transaction committed. What it revoked is refused from now on. */
  committed(writes: WriteRecorder): void {
    if (!writes.wroteTable(revocationTable)) return
    if (Number.isFinite(this.maxTokenLifetime)) {
      // Nothing else reads the table, so that no listener needs to know of this.
      this.database.run(`DELETE FROM ${revocationTable} WHERE at <= ?`, [this.time() - this.maxTokenLifetime])
    }
    this.load()
    this.hasChanged = true
  }

  /** Whether something was revoked since the last call. */
  takeChanged(): boolean {
    const { hasChanged } = this
    this.hasChanged = false
    return hasChanged
  }

  private load(): void {
    const { rows } = this.database.all(`SELECT subject, session, before FROM ${revocationTable}`, [])
    const revoked = new Map<string, RevokedSubject>()
    for (const [subject, session, before] of rows) {
      const found = revoked.get(String(subject)) ?? { before: Number.NEGATIVE_INFINITY, sessions: new Set() }
      if (session === "") found.before = Number(before)
      else found.sessions.add(String(session))
      revoked.set(String(subject), found)
    }
    this.revoked = revoked
  }
}
