/**
 * The log of a change feed: one row for each transaction that changed a table of the feed, numbered in the order of commits.
 * The row 0 names the log, and says from which number on it holds what the tables are now.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { InternalTable, RowChange, SqlValue, Tx } from "../../contract/Transactional.ts"
import { encode } from "./ChangeRows.ts"

/** The table of changes. */
export const changeTable: InternalTable = {
  name: "_dormouse_changes",
  create:
    "CREATE TABLE _dormouse_changes (sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, part INTEGER NOT NULL, " +
    "changes TEXT NOT NULL)"
}

/** What the row 0 contains. */
const Name = Schema.Struct({
  /** Tells the cursors of this log from those of another that had the same numbers. */
  epoch: Schema.String,
  /** The columns of the tables, as text: changes of other columns cannot be read. */
  shape: Schema.String,
  /** The last number of those that cannot be read. */
  before: Schema.Int
})
type Name = typeof Name.Type

const decodeName = Schema.decodeUnknownExit(Schema.fromJsonString(Name))

/** What a log keeps. */
export interface Retention {
  /** Milliseconds. */
  readonly age: number
  /** Transactions. */
  readonly commits: number
}

/** Entries between two looks for what need not be kept. */
const trimEvery = 64

/** Which part of a transaction an entry is. */
export const part = { whole: 0, more: 1, last: 2 } as const

/** Runs a statement and returns its rows. */
export type Run = (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>

/** The name of the log, if it has one, and if its changes are those of the tables as they are declared now. */
export const nameOf = (run: Run, shape: string): Name | undefined => {
  const [row] = run("SELECT changes FROM _dormouse_changes WHERE sequence = 0", [])
  const name = row && decodeName(row[0])
  return name !== undefined && Exit.isSuccess(name) && name.value.shape === shape ? name.value : undefined
}

/** The number of the newest entry; 0 if there is none. */
export const newestOf = (run: Run): number =>
  Number(run("SELECT max(sequence) FROM _dormouse_changes", [])[0]?.[0] ?? 0)

/** An entry of the log. */
export interface Entry {
  readonly sequence: number
  readonly part: number
  readonly changes: string
}

/** Entries that are read at once. */
export const entriesAtOnce = 32

/** Entries from a number on, or from the first that is kept. */
export const read = (run: Run, from: number): ReadonlyArray<Entry> =>
  run(
    `SELECT sequence, part, changes FROM _dormouse_changes WHERE sequence >= ? ORDER BY sequence LIMIT ${entriesAtOnce}`,
    [Math.max(1, from)]
  ).map(([sequence, part, changes]) => ({
    sequence: Number(sequence),
    part: Number(part),
    changes: String(changes)
  }))

/** The number of the first entry that is kept. */
export const firstOf = (run: Run, { before }: Name): number =>
  Number(run("SELECT min(sequence) FROM _dormouse_changes WHERE sequence > ?", [before])[0]?.[0] ?? newestOf(run) + 1)

/** Writes the log of one object. */
export class ChangeLog {
  private readonly shape: string
  private readonly retention: Retention
  private readonly needsBefore: (table: string) => boolean
  /** Whether the log was found to be that of the tables as they are declared now. */
  private isCurrent = false
  /** Entries since the last look for what need not be kept. An object that hibernates often looks after each start. */
  private untrimmed = trimEvery

  constructor(shape: string, retention: Retention, needsBefore: (table: string) => boolean) {
    this.shape = shape
    this.retention = retention
    this.needsBefore = needsBefore
  }

  /** Writes the changes of a transaction. */
  write(tx: Tx, changes: ReadonlyArray<RowChange>): void {
    const entries = encode(changes, this.needsBefore)
    this.isCurrent ||= this.begin(tx)
    for (let i = 0; i < entries.length; i++) {
      const at = entries.length === 1 ? part.whole : i < entries.length - 1 ? part.more : part.last
      tx.query("INSERT INTO _dormouse_changes (at, part, changes) VALUES (?, ?, ?)", [tx.now, at, entries[i]!])
    }
    this.untrimmed += entries.length
    if (this.untrimmed >= trimEvery) this.trim(tx)
    tx.recordWrite(changeTable.name)
  }

  /** Names the log, unless its name is right already, which it returns. */
  private begin(tx: Tx): boolean {
    if (nameOf(tx.query, this.shape) !== undefined) return true
    const name: Name = {
      epoch: Math.abs(tx.random.nextIntUnsafe()).toString(36),
      shape: this.shape,
      before: newestOf(tx.query)
    }
    tx.query("INSERT OR REPLACE INTO _dormouse_changes VALUES (0, ?, 0, ?)", [tx.now, JSON.stringify(name)])
    return false
  }

  /** Deletes what need not be kept. The newest entry stays, so that numbers are not used again. */
  private trim(tx: Tx): void {
    this.untrimmed = 0
    const { age, commits } = this.retention
    const newest = newestOf(tx.query)
    const [young] = tx.query(
      "SELECT sequence FROM _dormouse_changes WHERE sequence > 0 AND at >= ? ORDER BY sequence LIMIT 1",
      [tx.now - age]
    )
    const first = Math.max(Number(young?.[0] ?? newest), newest - commits + 1)
    tx.query("DELETE FROM _dormouse_changes WHERE sequence > 0 AND sequence < ?", [first])
  }
}
