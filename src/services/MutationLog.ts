import { type MutationId, mutationRetention } from "../protocol/MutationId.ts"
import type { Database } from "./Database.ts"

/**
 * The outcomes of numbered mutations, each written in the transaction it came from, so that one that is sent again is
 * answered and not run again (T3).
 */
export class MutationLog {
  private readonly database: Database["Service"]
  private sweptAt = Number.NEGATIVE_INFINITY

  constructor(database: Database["Service"]) {
    this.database = database
    database.all(
      "CREATE TABLE IF NOT EXISTS _dormouse_mutations (client TEXT NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL, outcome TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID",
      []
    )
  }

  find({ client, number }: MutationId): { readonly tag: string; readonly outcome: string } | undefined {
    const { rows } = this.database.all("SELECT tag, outcome FROM _dormouse_mutations WHERE client = ? AND number = ?", [
      client,
      number
    ])
    return rows[0] === undefined ? undefined : { tag: rows[0][0] as string, outcome: rows[0][1] as string }
  }

  record({ client, number }: MutationId, tag: string, outcome: string, at: number): void {
    this.sweep(at)
    this.database.all("INSERT OR REPLACE INTO _dormouse_mutations VALUES (?, ?, ?, ?, ?)", [
      client,
      number,
      tag,
      outcome,
      at
    ])
  }

  /** Forgets outcomes that are older than they are promised to be kept. Looks once an hour, since it reads every row. */
  private sweep(now: number): void {
    if (now - this.sweptAt < sweepEvery) return
    this.sweptAt = now
    this.database.all("DELETE FROM _dormouse_mutations WHERE at < ?", [now - mutationRetention])
  }
}

const sweepEvery = 60 * 60 * 1000
