/**
 * The outcomes of numbered mutations, each recorded in the transaction it came from.
 * A mutation that is sent again is answered with its first outcome and does not run again (T3).
 */
import type { InternalTable } from "../../contract/Transactional.ts"
import { type MutationId, mutationRetention } from "../../protocol/MutationId.ts"
import type { Database } from "../../services/Database.ts"

/** The table of outcomes. */
export const mutationTable: InternalTable = {
  name: "_dormouse_mutations",
  create:
    "CREATE TABLE _dormouse_mutations (client TEXT NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL, " +
    "outcome TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID"
}

/** How a numbered mutation ended. */
export interface RecordedOutcome {
  /** The rpc that ran under the number. */
  readonly tag: string
  /** The text of the exit. */
  readonly outcome: string
}

/** Outcomes by the number of their mutation. */
export class MutationLog {
  private readonly database: Database["Service"]
  private sweptAt = Number.NEGATIVE_INFINITY

  constructor(database: Database["Service"]) {
    this.database = database
  }

  /** The outcome of a mutation, while it is kept. */
  find({ client, number }: MutationId): RecordedOutcome | undefined {
    const { rows } = this.database.all("SELECT tag, outcome FROM _dormouse_mutations WHERE client = ? AND number = ?", [
      client,
      number
    ])
    const row = rows[0]
    return row === undefined ? undefined : { tag: String(row[0]), outcome: String(row[1]) }
  }

  /** Records an outcome. `at` is the time of its transaction, in milliseconds. */
  record({ client, number }: MutationId, tag: string, outcome: string, at: number): void {
    this.sweep(at)
    this.database.run("INSERT OR REPLACE INTO _dormouse_mutations VALUES (?, ?, ?, ?, ?)", [
      client,
      number,
      tag,
      outcome,
      at
    ])
  }

  /** Deletes outcomes whose retention has ended. It reads every row, so it runs once an hour at most. */
  private sweep(now: number): void {
    if (now - this.sweptAt < sweepInterval) return
    this.sweptAt = now
    this.database.run("DELETE FROM _dormouse_mutations WHERE at < ?", [now - mutationRetention])
  }
}

/** Milliseconds between two sweeps. */
const sweepInterval = 60 * 60 * 1000
