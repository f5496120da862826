/**
 * What the change feed stores of one transaction: each row that it changed, once, as it was and as it is.
 * A large transaction is divided into several entries.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import { StorageLimit } from "../../contract/Storage.ts"
import type { RowChange, SqlValue } from "../../contract/Transactional.ts"
import * as Limits from "../../protocol/Limits.ts"
import { failure } from "../storage/TableInfo.ts"

/** A change as it is stored. */
export interface StoredChange {
  readonly table: string
  readonly before: ReadonlyArray<SqlValue> | undefined
  readonly after: ReadonlyArray<SqlValue> | undefined
}

/** Characters of an entry at most, unless a single change is longer. */
const entryLength = 100_000

/** The changes of a transaction, one for each row, in the order in which the rows were first changed. */
export const coalesce = (changes: ReadonlyArray<RowChange>): ReadonlyArray<RowChange> => {
  if (changes.length === 1) return changes
  const byRow = new Map<string, RowChange>()
  for (const change of changes) {
    const { after, before, keyAt, table } = change
    const key = (before ?? after)![keyAt]
    const id = `${table.length} ${table} ${typeof key} ${key instanceof Uint8Array ? key.join() : key}`
    const earlier = byRow.get(id)
    byRow.set(id, earlier === undefined ? change : { ...change, before: earlier.before })
  }
  return [...byRow.values()].filter(({ after, before }) => before !== undefined || after !== undefined)
}

/** The JSON texts of entries. `needsBefore` says of which tables the row before an update is needed. */
export const encode = (
  changes: ReadonlyArray<RowChange>,
  needsBefore: (table: string) => boolean
): ReadonlyArray<string> => {
  const entries: Array<Array<string>> = []
  let length = Number.POSITIVE_INFINITY
  for (const { after, before, table } of coalesce(changes)) {
    const isNeeded = after === undefined || needsBefore(table)
    const change = [table, before === undefined ? 0 : isNeeded ? before : 1, after ?? 0]
    const isPlain = (before ?? noValues).every(isJson) && (after ?? noValues).every(isJson)
    const text = isPlain ? JSON.stringify(change) : JSON.stringify(change, stored)
    const actual = Limits.bytesBeyond(text, Limits.changeBytes)
    if (actual !== undefined) {
      throw failure(new StorageLimit({ limit: "changeBytes", max: Limits.changeBytes, actual }))
    }
    if (length + text.length > entryLength) {
      entries.push([])
      length = 0
    }
    entries.at(-1)!.push(text)
    length += text.length
  }
  return entries.map((texts) => `[${texts.join(",")}]`)
}

/** The changes of an entry. The row before an update is empty where it was not stored. */
export const decode = (text: string): ReadonlyArray<StoredChange> => {
  const entry: ReadonlyArray<readonly [string, unknown, unknown]> = JSON.parse(text, restored)
  return entry.map(([table, before, after]) => ({ table, before: rowOf(before), after: rowOf(after) }))
}

const rowOf = (value: unknown): ReadonlyArray<SqlValue> | undefined => {
  if (Array.isArray(value)) return value
  return value === 1 ? [] : undefined
}

const noValues: ReadonlyArray<SqlValue> = []

const isJson = (value: SqlValue): boolean =>
  typeof value === "number" ? Number.isFinite(value) : !(value instanceof Uint8Array)

/** JSON has no bytes and no infinite numbers. */
const stored = (_: string, value: unknown): unknown => {
  if (value instanceof Uint8Array) return { bytes: Base64.encode(value) }
  return typeof value === "number" && !Number.isFinite(value) ? { number: String(value) } : value
}

const restored = (_: string, value: any): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  return "bytes" in value ? Result.getOrThrow(Base64.decode(value.bytes)) : Number(value.number)
}
