import type { DatabaseSync } from "node:sqlite"

/** Copies what an object has stored to another one, which has not started yet. */
export const copy = (from: DatabaseSync, to: DatabaseSync): void => {
  const made = from.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC").all()
  const tables: Array<string> = []
  for (const { name, sql } of made) {
    if (!String(name).startsWith("sqlite_")) to.exec(String(sql))
    if (String(sql).startsWith("CREATE TABLE")) tables.push(String(name))
  }
  for (const table of tables) {
    for (const row of from.prepare(`SELECT * FROM "${table}"`).all()) {
      const columns = Object.keys(row)
      const places = columns.map(() => "?").join(", ")
      to.prepare(`INSERT INTO "${table}" (${columns.join(", ")}) VALUES (${places})`).run(...Object.values(row))
    }
  }
}
