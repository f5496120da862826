/**
 * What a tenant knows of its imports: how far each is, and the rows that wait for rows they refer to.
 * It is written in the transactions that import the rows, so that a batch which is sent again changes nothing.
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { type ImportState, OnConflict } from "../../admin/AdminApi.ts"
import type { InternalTable, Transactional, Tx } from "../../contract/Transactional.ts"

const importTable = "_dormouse_imports"
const waitingTable = "_dormouse_imports_waiting"

const tables: ReadonlyArray<InternalTable> = [
  {
    name: importTable,
    create:
      `CREATE TABLE ${importTable} (id TEXT PRIMARY KEY, line INTEGER NOT NULL, written INTEGER NOT NULL, ` +
      "skipped INTEGER NOT NULL, waiting INTEGER NOT NULL, done INTEGER NOT NULL, how TEXT NOT NULL, at INTEGER NOT NULL)"
  },
  {
    name: waitingTable,
    create:
      `CREATE TABLE ${waitingTable} (import TEXT NOT NULL, line INTEGER NOT NULL, text TEXT NOT NULL, ` +
      "PRIMARY KEY (import, line)) WITHOUT ROWID"
  }
]

/** How an import writes its rows. */
const How = Schema.Struct({ onConflict: OnConflict, isSeed: Schema.Boolean })
/** How an import writes its rows. */
export type How = typeof How.Type
const HowText = Schema.fromJsonString(How)
const decodeHow = Schema.decodeUnknownSync(HowText)
const encodeHow = Schema.encodeSync(HowText)

/** An import that has begun. */
export interface Import {
  readonly state: ImportState
  readonly how: How
}

/** A line of an import. */
export interface Line {
  readonly line: number
  readonly text: string
}

/** Waiting rows that one step reads: lines, and characters unless a single line has more. */
const step = { lines: 500, characters: 2_000_000 } as const

/** The imports of a tenant, in one transaction. */
export class TransactionImports {
  private readonly tx: Tx

  constructor(tx: Tx) {
    this.tx = tx
  }

  find(id: string): Import | undefined {
    const [row] = this.tx.query(`SELECT line, written, skipped, waiting, done, how FROM ${importTable} WHERE id = ?`, [
      id
    ])
    if (row === undefined) return undefined
    const [line, written, skipped, waiting, done, how] = row
    const state = { line: Number(line), written: Number(written), skipped: Number(skipped), waiting: Number(waiting) }
    return { state: { ...state, isDone: done === 1 }, how: decodeHow(how) }
  }

  save(id: string, { how, state }: Import): void {
    const { isDone, line, skipped, waiting, written } = state
    this.tx.query(
      `INSERT OR REPLACE INTO ${importTable} (id, line, written, skipped, waiting, done, how, at) ` +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      [id, line, written, skipped, waiting, isDone ? 1 : 0, encodeHow(how), this.tx.now]
    )
  }

  forget(id: string): void {
    this.tx.query(`DELETE FROM ${importTable} WHERE id = ?`, [id])
    this.tx.query(`DELETE FROM ${waitingTable} WHERE import = ?`, [id])
  }

  /** Keeps lines whose rows refer to rows that are not there yet. */
  keep(id: string, lines: ReadonlyArray<Line>): void {
    const perStatement = 30
    for (let i = 0; i < lines.length; i += perStatement) {
      const some = lines.slice(i, i + perStatement)
      const places = some.map(() => "(?, ?, ?)").join(", ")
      const values = some.flatMap(({ line, text }) => [id, line, text])
      this.tx.query(`INSERT INTO ${waitingTable} (import, line, text) VALUES ${places}`, values)
    }
  }

  /** The lines that wait before a line, from the last one on, as far as one step reads them. */
  waiting(id: string, before: number, max: { readonly lines: number; readonly characters: number } = step) {
    const sizes = this.tx.query(
      `SELECT line, length(text) FROM ${waitingTable} WHERE import = ? AND line < ? ORDER BY line DESC LIMIT ?`,
      [id, before, max.lines]
    )
    let characters = 0
    let first: number | undefined
    for (const [line, length] of sizes) {
      characters += Number(length)
      if (first !== undefined && characters > max.characters) break
      first = Number(line)
    }
    if (first === undefined) return []
    const rows = this.tx.query(
      `SELECT line, text FROM ${waitingTable} WHERE import = ? AND line >= ? AND line < ? ORDER BY line DESC`,
      [id, first, before]
    )
    return rows.map(([line, text]): Line => ({ line: Number(line), text: String(text) }))
  }

  /** Deletes lines that wait no more. */
  release(id: string, lines: ReadonlyArray<number>): void {
    const text = JSON.stringify(lines)
    this.tx.query(`DELETE FROM ${waitingTable} WHERE import = ? AND line IN (SELECT value FROM json_each(?))`, [
      id,
      text
    ])
  }
}

/** The imports of the tenant, for the handlers of the admin rpcs. */
export class Imports extends Context.Service<Imports, TransactionImports>()("effect-dormouse/services/admin/Imports") {}

/** The imports as a service that takes part in transactions. */
export const transactional: Transactional<Imports, TransactionImports> = {
  tag: Imports,
  tables,
  open: (tx) => new TransactionImports(tx)
}
