/**
 * The outcomes of numbered mutations, each recorded in the transaction it came from.
 * A mutation that is sent again is answered with its first outcome and does not run again (T3).
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Base64Url from "effect/encoding/Base64Url"
import type { InternalTable } from "../../contract/Transactional.ts"
import { canonical } from "../../protocol/JsonCodec.ts"
import { type MutationId, mutationRetention } from "../../protocol/MutationId.ts"
import type { Database, SqlValue } from "../../services/Database.ts"

/** The table of outcomes. */
export const mutationTable: InternalTable = {
  name: "_dormouse_mutations",
  create:
    "CREATE TABLE _dormouse_mutations (client TEXT NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL, " +
    "outcome TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID"
}

/**
 * What was added to the table: the binding of each record, its caller, up to which number the client had settled, and an
 * index of age. Older records have only their age.
 */
export const mutationIndex: InternalTable = {
  name: "_dormouse_mutations_by_age",
  create:
    "ALTER TABLE _dormouse_mutations ADD COLUMN binding TEXT; " +
    "ALTER TABLE _dormouse_mutations ADD COLUMN caller TEXT; " +
    "ALTER TABLE _dormouse_mutations ADD COLUMN below INTEGER; " +
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

/** The record of the highest number that a client has used. */
export interface Newest {
  readonly number: number
  /** Every number below this one is settled. The outcomes of its caller's were deleted, and none of them runs again. */
  readonly below: number
  /** The caller's subject, as JSON. `undefined` in records of versions that wrote none. */
  readonly caller: string | undefined
}

/** What is known of a number before its mutation runs. */
export type Known =
  | { readonly _tag: "New"; readonly newest: Newest | undefined }
  | { readonly _tag: "Recorded"; readonly recorded: RecordedOutcome }
  /** The client had settled it. It may be a copy that the network held up: it must not run. */
  | { readonly _tag: "Settled" }

/** A mutation whose outcome is recorded. */
export interface Numbered {
  readonly id: MutationId
  /** What `find` returned for it, in the same turn. */
  readonly newest: Newest | undefined
  /** The caller's subject, as JSON. */
  readonly caller: string
  readonly tag: string
  readonly binding: string
}

/**
 * Outcomes by the number of their mutation. The record of a client's highest number says up to which number the client had
 * settled. It stays for a day, so that copies of settled mutations that come late do not run again.
 */
export class MutationLog {
  private readonly database: Database["Service"]

  constructor(database: Database["Service"]) {
    this.database = database
  }

  /** What is known of a number. The number after a client's highest one takes one look-up. */
  find({ client, number }: MutationId): Known {
    if (this.database.isUnwritten?.() === true) return { _tag: "New", newest: undefined }
    const last = this.database.all(
      "SELECT number, below, caller, tag, binding, CASE number WHEN ? THEN outcome END " +
        "FROM _dormouse_mutations WHERE client = ? ORDER BY number DESC LIMIT 1",
      [number, client]
    ).rows[0]
    if (last === undefined) return { _tag: "New", newest: undefined }
    const newest = {
      number: Number(last[0]),
      below: Number(last[1] ?? 0),
      caller: last[2] === null ? undefined : String(last[2])
    }
    if (newest.number < number) return { _tag: "New", newest }
    if (newest.number === number) return recorded(last[3], last[4], last[5])
    const row = this.database.all(
      "SELECT tag, binding, outcome FROM _dormouse_mutations WHERE client = ? AND number = ?",
      [client, number]
    ).rows[0]
    if (row !== undefined) return recorded(row[0], row[1], row[2])
    return number < newest.below ? { _tag: "Settled" } : { _tag: "New", newest }
  }

  /** Records an outcome, and deletes those that the client has settled. `at` is the time of its transaction. */
  record({ binding, caller, id, newest, tag }: Numbered, outcome: string, at: number): void {
    const { client, number } = id
    const before = newest?.below ?? 0
    // What a copy says that came late is not news.
    const below = newest !== undefined && number < newest.number ? before : Math.max(before, id.below)
    const values = [number, tag, outcome, at, binding, caller, below]
    if (newest !== undefined && below > newest.number && newest.below === newest.number && newest.caller === caller) {
      // The client waited for each outcome: its one record is settled, and becomes the next one.
      this.database.run(
        "UPDATE _dormouse_mutations SET number = ?, tag = ?, outcome = ?, at = ?, binding = ?, caller = ?, below = ? " +
          "WHERE client = ? AND number = ?",
        [...values, client, newest.number]
      )
    } else {
      this.database.run(
        "INSERT OR REPLACE INTO _dormouse_mutations (number, tag, outcome, at, binding, caller, below, client) " +
          "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [...values, client]
      )
      // After the record, so that no crash leaves settled numbers without one.
      if (below > before) {
        this.database.run("DELETE FROM _dormouse_mutations WHERE client = ? AND number < ? AND caller = ?", [
          client,
          below,
          caller
        ])
      }
    }
    this.sweep(at)
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

const recorded = (tag: SqlValue = null, binding: SqlValue = null, outcome: SqlValue = null): Known => ({
  _tag: "Recorded",
  recorded: { tag: String(tag), outcome: String(outcome), binding: binding === null ? undefined : String(binding) }
})

/** Rows that one mutation deletes at most: more than the one that it adds, so that old ones run out. */
const sweepRows = 8
