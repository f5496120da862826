/**
 * How far the migrations of rows are in one database: a row for each that has begun or ended, with the last key that it has
 * visited. The row is written in the transaction of the step that it is about.
 */
import type { InternalTable } from "../../contract/Transactional.ts"
import type { Database, SqlValue } from "../Database.ts"

/** The table of the states. */
export const migrationTable: InternalTable = {
  name: "_dormouse_migrations",
  create:
    "CREATE TABLE _dormouse_migrations (id TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, position, " +
    "rows INTEGER NOT NULL, total INTEGER NOT NULL, failure TEXT) WITHOUT ROWID"
}

/** How far a migration is. */
export interface MigrationState {
  readonly state: "running" | "done"
  /** The last key that was visited. `null` before the first step. */
  readonly position: SqlValue
  /** Rows that were visited. */
  readonly rows: number
  /** Rows that the table had when the migration began. */
  readonly total: number
  /** Why the last step failed, if it did. */
  readonly failure: string | null
}

/** The states by the names of the migrations. None before the table exists. */
export const read = (database: Database["Service"]): ReadonlyMap<string, MigrationState> => {
  const { rows } = database.all("SELECT id, state, position, rows, total, failure FROM _dormouse_migrations", [])
  return new Map(
    rows.map(([id, state, position, visited, total, failure]) => [
      String(id),
      {
        state: state === "done" ? "done" : "running",
        position: position ?? null,
        rows: Number(visited),
        total: Number(total),
        failure: failure === null || failure === undefined ? null : String(failure)
      }
    ])
  )
}

/** Writes the state of a migration. */
export const write = (
  database: Database["Service"],
  id: string,
  { failure, position, rows, state, total }: MigrationState
): void =>
  database.run("INSERT OR REPLACE INTO _dormouse_migrations VALUES (?, ?, ?, ?, ?, ?)", [
    id,
    state,
    position,
    rows,
    total,
    failure
  ])

/** The state of a migration that had nothing to do. */
export const vacuous: MigrationState = { state: "done", position: null, rows: 0, total: 0, failure: null }

/** Forgets a migration: it begins again when a version of the app has it. */
export const forget = (database: Database["Service"], id: string): void =>
  database.run("DELETE FROM _dormouse_migrations WHERE id = ?", [id])
