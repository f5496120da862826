/**
 * Imports rows in batches, each within one transaction, with the state of the import beside them.
 * A row that refers to a row which is not there yet waits for it: whatever the order of the lines, no reference is ever broken.
 */
import type * as Fiber from "effect/Fiber"
import type { ImportBatch, ImportState, ImportStep, OnConflict } from "../../admin/AdminApi.ts"
import { StorageError } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlRow } from "../storage/RowCodec.ts"
import type { TableInfo } from "../storage/TableInfo.ts"
import { TableWriter } from "../storage/TableWriter.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import type { How, Line, TransactionImports } from "./ImportRows.ts"
import * as References from "./References.ts"
import { describe, type LineReader, type ReadRow, read, refuse } from "./RowLines.ts"

/** What an import works with, in one transaction. */
export interface ImportContext {
  readonly storage: TransactionStorage
  readonly imports: TransactionImports
  /** The tables of the app, each after those that it refers to. */
  readonly tables: ReadonlyArray<AnyTable>
  readonly fiber: Fiber.Fiber<any, any>
}

/** An import that has not begun. */
export const nothing: ImportState = { line: 0, written: 0, skipped: 0, waiting: 0, isDone: false }

/** Imports lines. Those that the import has already change nothing. Throws an `ImportRefused`. */
export const batch = (context: ImportContext, { after, id, isSeed, lines, onConflict }: ImportBatch): ImportState => {
  const { imports } = context
  const how: How = { onConflict, isSeed }
  const state = imports.find(id)?.state ?? nothing
  const texts = lines.split("\n")
  const last = after + texts.length
  if (state.isDone || last <= state.line) return state
  if (after > state.line) refuse(after + 1, `the lines before it are missing: the import has ${state.line}`)
  const rows = texts
    .map((text, i): Line => ({ line: after + 1 + i, text }))
    .filter(({ line, text }) => line > state.line && text.trim() !== "")
  const { skipped, waiting, written } = settle(context, how, rows)
  for (const { line, text } of waiting.keys()) {
    const bytes = Limits.bytesBeyond(text, Limits.storedBytes)
    if (bytes !== undefined)
      refuse(line, "the row is too large to wait for the row that it refers to: move it behind that")
  }
  imports.keep(id, [...waiting.keys()])
  const next: ImportState = {
    line: last,
    written: state.written + written,
    skipped: state.skipped + skipped,
    waiting: state.waiting + waiting.size,
    isDone: false
  }
  imports.save(id, { state: next, how })
  return next
}

/** Rows and characters that one transaction can hold when all that wait are imported together. */
const together = { lines: 5_000, characters: 16_000_000 } as const

/** One step of the end of an import. Throws an `ImportRefused`. */
export const finish = (
  context: ImportContext,
  asked: { readonly id: string; readonly before: number | null; readonly together: boolean }
): ImportStep => {
  const { imports } = context
  const { id } = asked
  const found = imports.find(id)
  // Of a file without a row nothing was sent.
  if (found === undefined) return { state: { ...nothing, isDone: true }, next: null, settled: 0 }
  const { how, state } = found
  if (state.isDone) return { state, next: null, settled: 0 }
  const before = asked.together ? state.line + 1 : (asked.before ?? state.line + 1)
  const lines = imports.waiting(id, before, asked.together ? together : undefined)
  if (asked.together && lines.length < state.waiting) {
    refuse(lines.at(-1)?.line ?? 0, `${state.waiting} rows refer to each other, more than one transaction can hold`)
  }
  const { skipped, waiting, written } = settle(context, how, lines.toReversed())
  const [blocked] = asked.together ? [...waiting].sort(([a], [b]) => a.line - b.line) : []
  if (blocked !== undefined) refuse(blocked[0].line, blocked[1])
  const settled = lines.length - waiting.size
  const still = new Set(Array.from(waiting.keys(), ({ line }) => line))
  imports.release(
    id,
    lines.map(({ line }) => line).filter((line) => !still.has(line))
  )
  const left = state.waiting - settled
  const next: ImportState = {
    line: state.line,
    written: state.written + written,
    skipped: state.skipped + skipped,
    waiting: left,
    isDone: left === 0
  }
  imports.save(id, { state: next, how })
  const end = lines.at(-1)?.line
  return { state: next, next: left === 0 || end === undefined || end === 1 ? null : end, settled }
}

/** What became of rows. Those that wait are with what they wait for. */
interface Settled {
  readonly written: number
  readonly skipped: number
  readonly waiting: ReadonlyMap<Line, string>
}

/** A row that is written in place of another one. */
interface Change extends ReadRow {
  readonly old: SqlRow
}

/** Writes rows whose references are there, or come with them. */
const settle = (context: ImportContext, how: How, lines: ReadonlyArray<Line>): Settled => {
  const { fiber, storage, tables } = context
  const writer = new TableWriter(storage)
  const reader: LineReader = {
    storage,
    writer,
    tables: new Set(tables.map(({ name }) => name)),
    isSeed: how.isSeed,
    fiber
  }
  const { changes, inserts, skipped } = decide(
    storage,
    lines.map((line) => read(reader, line)),
    how.onConflict
  )
  const rank = new Map(tables.map(({ name }, i) => [name, i]))
  const rankOf = ({ info }: ReadRow) => rank.get(info.table.name)!
  const ordered = [...inserts.values()].sort((a, b) => rankOf(a) - rankOf(b) || a.line - b.line)
  const { isOrdered, waiting } = References.check(storage, ordered, [...changes.values()])
  const isWritten = (row: ReadRow) => !waiting.has(row)
  const written = { inserts: ordered.filter(isWritten), changes: [...changes.values()].filter(isWritten) }
  if (isOrdered) write(storage, writer, written)
  else References.deferred(storage, () => write(storage, writer, written))
  return { written: written.inserts.length + written.changes.length, skipped, waiting }
}

/** Which rows are new, and which replace one. */
const decide = (storage: TransactionStorage, rows: ReadonlyArray<ReadRow>, onConflict: OnConflict) => {
  const known = new Map<string, SqlRow>()
  for (const [info, own] of byTable(rows)) {
    const keys = own.map(({ row }) => row.sql[info.keyPosition]!)
    for (const [id, row] of storage.rowsByKeys(info, keys)) known.set(id, row)
  }
  const inserts = new Map<string, ReadRow>()
  const changes = new Map<string, Change>()
  let skipped = 0
  for (const row of rows) {
    const { id, info, line } = row
    const old = known.get(id)
    if (old === undefined && !inserts.has(id)) inserts.set(id, row)
    else if (onConflict === "fail") refuse(line, `table ${info.table.name} has a row with this key already`)
    else if (onConflict === "skip") skipped++
    else if (old === undefined) inserts.set(id, row)
    else changes.set(id, { ...row, old })
  }
  return { inserts, changes, skipped }
}

const byTable = (rows: ReadonlyArray<ReadRow>): Map<TableInfo, ReadonlyArray<ReadRow>> =>
  Map.groupBy(rows, ({ info }) => info)

interface Written {
  readonly inserts: ReadonlyArray<ReadRow>
  readonly changes: ReadonlyArray<Change>
}

/** Writes rows. Throws an `ImportRefused` that names the line which violates a constraint. */
const write = (storage: TransactionStorage, writer: TableWriter, { changes, inserts }: Written): void => {
  const mark = storage.mark()
  try {
    storage.runtime.database.transaction(() => {
      for (const [info, rows] of byTable(inserts))
        writer.insertStored(
          info,
          rows.map(({ row }) => row.sql)
        )
      for (const { info, old, row } of changes) writer.updateStored(info, old, row)
    })
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    storage.rollbackTo(mark)
    // One statement writes several rows: the row is found by writing them one by one. All of it is rolled back in the end.
    for (const { info, line, row } of inserts) attempt(line, () => writer.insertStored(info, [row.sql]))
    for (const { info, line, old, row } of changes) attempt(line, () => writer.updateStored(info, old, row))
    throw error
  }
}

const attempt = (line: number, body: () => void): void => {
  try {
    body()
  } catch (error) {
    if (error instanceof StorageError) refuse(line, describe(error))
    throw error
  }
}
