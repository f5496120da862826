import { StorageError, StorageLimit } from "../../contract/Storage.ts"
import * as Limits from "../../protocol/Limits.ts"
import type { SqlValue } from "../Database.ts"
import type { SqlRow } from "./RowCodec.ts"

/**
 * The platform's limits on statements and rows, checked before SQLite is asked wherever that is possible: its own
 * answers do not say how much there was, and in memory some of them would not come. Each function throws a `StorageError`.
 */

export const limit = (name: Limits.LimitName, max: number, actual: number): void => {
  if (actual > max) throw new StorageError({ reason: new StorageLimit({ limit: name, max, actual }) })
}

export const checkRow = (row: SqlRow): void => {
  const max = Limits.sqlite.rowBytes
  if (sum(row, mostBytes) > max) limit("rowBytes", max, sum(row, bytesOf))
}

export const checkStatement = (sql: string, params: ReadonlyArray<SqlValue>): void => {
  const { boundParameters, rowBytes, statementBytes } = Limits.sqlite
  limit("boundParameters", boundParameters, params.length)
  if (mostBytes(sql) > statementBytes) limit("statementBytes", statementBytes, bytesOf(sql))
  for (const value of params) {
    if (mostBytes(value) > rowBytes) limit("rowBytes", rowBytes, bytesOf(value))
  }
}

/** The limit that SQLite speaks of in its error, if it does. */
export const limitOf = (cause: unknown, params: ReadonlyArray<SqlValue>): StorageError | undefined => {
  const found = cause instanceof Error && messages.find(([message]) => cause.message.includes(message))
  if (!found) return undefined
  const max = Limits.sqlite[found[1]]
  // It does not say how much there was: the largest parameter, or one too many.
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
/** No unit of UTF-16 has more than three bytes of UTF-8. */
const mostBytes = (value: SqlValue): number => (typeof value === "string" ? value.length * 3 : bytesOf(value))
const sum = (row: SqlRow, bytes: (value: SqlValue) => number) =>
  row.reduce<number>((total, value) => total + bytes(value), 0)
