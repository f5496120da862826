/**
 * Checks the platform's limits on statements and rows before SQLite does: its own errors do not say how much there was,
 * and some limits are not enforced in memory. Each function throws a `StorageError`.
 */
import { StorageError, StorageLimit } from "../../contract/Storage.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"

/** Throws when a limit is exceeded. */
export const limit = (name: Limits.LimitName, max: number, actual: number): void => {
  if (actual > max) throw new StorageError({ reason: new StorageLimit({ limit: name, max, actual }) })
}

/** Checks the size of a row. */
export const checkRow = (row: SqlRow): void => {
  const max = Limits.sqlite.rowBytes
  if (sum(row, maxBytes) > max) limit("rowBytes", max, sum(row, bytesOf))
}

/** Checks the text and the parameters of a statement. */
export const checkStatement = (sql: string, params: ReadonlyArray<SqlValue>): void => {
  const { boundParameters, rowBytes, statementBytes } = Limits.sqlite
  limit("boundParameters", boundParameters, params.length)
  if (maxBytes(sql) > statementBytes) limit("statementBytes", statementBytes, bytesOf(sql))
  for (const value of params) {
    if (maxBytes(value) > rowBytes) limit("rowBytes", rowBytes, bytesOf(value))
  }
}

/** The error for the limit that SQLite's error message names, if it names one. */
export const limitOf = (cause: unknown, params: ReadonlyArray<SqlValue>): StorageError | undefined => {
  const found = cause instanceof Error && messages.find(([message]) => cause.message.includes(message))
  if (!found) return undefined
  const max = Limits.sqlite[found[1]]
  // SQLite does not say how much there was: the largest parameter, or one too many.
  const actual = Math.max(max + 1, ...params.map(bytesOf))
  return new StorageError({ reason: new StorageLimit({ limit: found[1], max, actual }) })
}

const messages: ReadonlyArray<readonly [message: string, limit: keyof typeof Limits.sqlite]> = [
  ["LIKE or GLOB pattern too complex", "likePatternBytes"],
  ["string or blob too big", "rowBytes"],
  ["too many columns", "columns"]
]

const encoder = new TextEncoder()
const bytesOf = (value: SqlValue): number =>
  typeof value === "string" ? encoder.encode(value).length : value instanceof Uint8Array ? value.length : 8
/** An upper bound: a UTF-16 unit takes at most three bytes. */
const maxBytes = (value: SqlValue): number => (typeof value === "string" ? value.length * 3 : bytesOf(value))
const sum = (row: SqlRow, bytes: (value: SqlValue) => number) =>
  row.reduce<number>((total, value) => total + bytes(value), 0)
