/**
 * Which rows of a batch can be written: those whose references are in the database, or come with the batch.
 * A row that refers to a missing row waits, and so does every row of the batch that refers to it.
 */
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import { rowId, type TableInfo } from "../storage/TableInfo.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import type { ReadRow } from "./RowLines.ts"

/** A reference of a row of the batch. */
interface Use {
  readonly by: ReadRow
  readonly column: string
  readonly target: TableInfo
  readonly key: SqlValue
  /** The text that identifies the row that it refers to. */
  readonly id: string
}

/** What `check` found. */
export interface Checked {
  /** The rows that cannot be written yet, with the reason. */
  readonly waiting: ReadonlyMap<ReadRow, string>
  /** Whether each of the other inserts comes after those that it refers to. */
  readonly isOrdered: boolean
}

/** Checks the references of rows: of inserts, in the order in which they will be written, and of changes after them. */
export const check = (
  storage: TransactionStorage,
  inserts: ReadonlyArray<ReadRow>,
  changes: ReadonlyArray<ReadRow>
): Checked => {
  const uses = [...inserts, ...changes].flatMap((row) => usesOf(storage, row))
  if (uses.length === 0) return { waiting: new Map(), isOrdered: true }
  const positions = new Map(inserts.map(({ id }, i) => [id, i]))
  const present = existing(
    storage,
    uses.filter(({ id }) => !positions.has(id))
  )
  const waiting = new Map<ReadRow, string>()
  const usesById = Map.groupBy(
    uses.filter(({ id }) => positions.has(id)),
    ({ id }) => id
  )
  const wait = (first: Use): void => {
    const blocked = [first]
    for (let use = blocked.pop(); use !== undefined; use = blocked.pop()) {
      if (waiting.has(use.by)) continue
      const { by, column, target } = use
      waiting.set(
        by,
        `${by.info.table.name}.${column} refers to a row of table ${target.table.name} that does not exist`
      )
      blocked.push(...(usesById.get(by.id) ?? []))
    }
  }
  for (const use of uses) if (!positions.has(use.id) && !present.has(use.id)) wait(use)
  const isOrdered = uses.every(({ by, id }) => {
    const [own = inserts.length, other = -1] = [positions.get(by.id), positions.get(id)]
    return waiting.has(by) || other <= own
  })
  return { waiting, isOrdered }
}

const usesOf = (storage: TransactionStorage, by: ReadRow): ReadonlyArray<Use> => {
  const uses: Array<Use> = []
  for (const [column, reference] of by.info.table.references) {
    const key = by.row.sql[by.info.codec.columnIndex.get(column)!]!
    if (key === null) continue
    const target = storage.runtime.table(reference.table())
    const id = rowId(target, key)
    if (id !== by.id) uses.push({ by, column, target, key, id })
  }
  return uses
}

/** Those of the rows that are in the database. */
const existing = (storage: TransactionStorage, uses: ReadonlyArray<Use>): ReadonlySet<string> => {
  const found = new Set<string>()
  for (const [target, own] of Map.groupBy(uses, ({ target }) => target)) {
    const keys = [...new Map(own.map(({ id, key }) => [id, key])).values()]
    for (let i = 0; i < keys.length; i += Limits.sqlite.boundParameters) {
      const some = keys.slice(i, i + Limits.sqlite.boundParameters)
      const places = some.map(() => "?").join(", ")
      const sql = `SELECT ${target.keyName} FROM ${target.name} WHERE ${target.keyName} IN (${places})`
      for (const [key] of storage.all(sql, some).rows) found.add(rowId(target, key!))
    }
  }
  return found
}

/** Runs writes whose references are complete only at their end. */
export const deferred = (storage: TransactionStorage, writes: () => void): void => {
  const { database } = storage.runtime
  database.run("PRAGMA defer_foreign_keys = ON", [])
  try {
    writes()
  } finally {
    // The platform commits several transactions at once: the next one must see what it breaks.
    database.run("PRAGMA defer_foreign_keys = OFF", [])
  }
}
