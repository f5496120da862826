/**
 * The table of a service that works over a `Database` without an app.
 * With an app, `Storage` creates the same tables when it migrates.
 */
import type { InternalTable } from "../../contract/Transactional.ts"
import type { Database } from "../Database.ts"

/** Creates a table with its indexes unless the database has it. */
export const create = (database: Database["Service"], table: InternalTable): void => {
  const known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
  if (database.all(known, [table.name]).rows.length > 0) return
  database.transaction(() => database.all(table.create, []))
}
