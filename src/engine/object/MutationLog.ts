/**
 * The outcomes of numbered mutations, each recorded in the transaction it came from.
 * A mutation that is sent again is answered with its first outcome and does not run again (T3).
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Base64Url from "effect/encoding/Base64Url"
import type { InternalTable } from "../../contract/Transactional.ts"
import { canonical } from "../../protocol/JsonCodec.ts"
import { type MutationId, mutationRetention } from "../../protocol/MutationId.ts"
import type { Database } from "../../services/Database.ts"

/** The table of outcomes. */
export const mutationTable: InternalTable = {
  name: "_dormouse_mutations",
  create:
    "CREATE TABLE _dormouse_mutations (client TEXT NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL, " +
    "outcome TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID"
}

/** What was added to the table: the binding of each record, and an index of age. Older records have no binding. */
export const mutationIndex: InternalTable = {
  name: "_dormouse_mutations_by_age",
  create:
    "ALTER TABLE _dormouse_mutations ADD COLUMN binding TEXT; " +
    "CREATE INDEX _dormouse_mutations_by_age ON _dormouse_mutations (at)"
}

/** What a mutation is, besides its number. */
export interface NumberedCall {
  /** The caller's subject. */
  readonly subject: string | null
  /** The tag of the rpc. */
  readonly tag: string
  /** The payload as it was sent. */
  readonly payload: unknown
}

/** The text that a record keeps of its call. Calls with equal texts are the same call. */
export const bindingOf = ({ payload, subject, tag }: NumberedCall): string => {
  // Clients may send the fields of an object in another order when they send it again.
  const text = JSON.stringify([subject, tag, canonical(payload)])
  return Base64Url.encode(sha256(new TextEncoder().encode(text)).subarray(0, 16))
}

/** How a numbered mutation ended. */
export interface RecordedOutcome {
  /** The rpc that ran under the number. */
  readonly tag: string
  /** The binding of the call that ran. `undefined` in records of versions that wrote none. */
  readonly binding: string | undefined
  /** The text of the exit. */
  readonly outcome: string
}

/** Outcomes by the number of their mutation. */
export class MutationLog {
  private readonly database: Database["Service"]

  constructor(database: Database["Service"]) {
    this.database = database
  }

  /** The outcome of a mutation, while it is kept. */
  find({ client, number }: MutationId): RecordedOutcome | undefined {
    if (this.database.isUnwritten?.() === true) return undefined
    const { rows } = this.database.all(
      "SELECT tag, outcome, binding FROM _dormouse_mutations WHERE client = ? AND number = ?",
      [client, number]
    )
    const row = rows[0]
    if (row === undefined) return undefined
    const [tag, outcome, binding] = row
    return { tag: String(tag), outcome: String(outcome), binding: binding === null ? undefined : String(binding) }
  }

  /** Records an outcome. `at` is the time of its transaction, in milliseconds. */
  record({ client, number }: MutationId, { binding, outcome, tag }: RecordedOutcome, at: number): void {
    this.sweep(at)
    this.database.run(
      "INSERT OR REPLACE INTO _dormouse_mutations (client, number, tag, outcome, at, binding) VALUES (?, ?, ?, ?, ?, ?)",
      [client, number, tag, outcome, at, binding ?? null]
    )
  }

  /** Deletes a few outcomes whose retention has ended, the oldest first. It reads only those. */
  private sweep(now: number): void {
    this.database.run(
      "DELETE FROM _dormouse_mutations WHERE (client, number) IN " +
        "(SELECT client, number FROM _dormouse_mutations WHERE at < ? ORDER BY at LIMIT ?)",
      [now - mutationRetention, sweepRows]
    )
  }
}

/** Rows that one mutation deletes at most: more than the one that it adds, so that old ones run out. */
const sweepRows = 8
