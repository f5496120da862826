/**
 * The rows of key-value stores, and the operations on them. Several stores share the table: each has a space of its own.
 * Every read leaves out what has expired. Each write deletes a few expired rows, by their index.
 */
import type * as Duration from "effect/Duration"
import type { InternalTable, Tx } from "../../contract/Transactional.ts"

/** The table's name. */
export const rowTable = "_dormouse_key_values"

/** The name by which it is recorded that the end of a key was set. */
export const valueEnds = `${rowTable} ends`

/** The statement that selects the earliest end. */
export const nextEnd = `SELECT min(expires) FROM ${rowTable} WHERE expires IS NOT NULL`

/** One row for each key. `value` is text or a blob, as it was set. */
export const table: InternalTable = {
  name: rowTable,
  create:
    `CREATE TABLE ${rowTable} (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER, ` +
    "PRIMARY KEY (space, key)) WITHOUT ROWID; " +
    `CREATE INDEX ${rowTable}_by_expiry ON ${rowTable} (expires) WHERE expires IS NOT NULL`
}

/** Rows that a write deletes at most: more than the one that it adds, so that expired rows run out. */
const sweepRows = 8

/** A value that has not expired. */
export interface Row {
  readonly value: string | Uint8Array
  readonly expires: number | null
}

/** What the operations need besides statements. */
export interface Port {
  readonly now: () => number
  /** A key was read, or all of them. */
  readonly onRead: (name: string | undefined) => void
  /** A key is written. */
  readonly onWrite: (name: string) => void
  /** The end of a key is set. */
  readonly onEnd: () => void
  readonly expiryOf: (now: number, timeToLive: Duration.Duration) => number
}

/** The end of a range of texts with a prefix, by code points; `undefined` if there is none. */
const after = (prefix: string): string | undefined => {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    // After the last one before the surrogates comes the first one behind them.
    if (last < 0x10ffff) return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
  }
  return undefined
}

/** The operations on the rows of one transaction. They throw what the database throws. */
export const over = (query: Tx["query"], { expiryOf, now, onEnd, onRead, onWrite }: Port) => {
  /** A key by which reads and writes are recorded. */
  const nameOf = (space: string, key: string) => `${space}\0${key}`
  const put = (space: string, key: string, value: string | Uint8Array, expires: number | null): void => {
    onWrite(nameOf(space, key))
    if (expires !== null) onEnd()
    query(
      `INSERT INTO ${rowTable} (space, key, value, expires) VALUES (?, ?, ?, ?) ` +
        "ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
      [space, key, value, expires]
    )
    sweep(sweepRows)
  }
  const sweep = (max: number): void => {
    const expired = query(
      `DELETE FROM ${rowTable} WHERE (space, key) IN (SELECT space, key FROM ${rowTable} ` +
        "WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?) RETURNING space, key",
      [now(), max]
    )
    // A live query may still show them.
    for (const [space, key] of expired) onWrite(nameOf(String(space), String(key)))
  }
  const remove = (space: string, key: string): void => {
    onWrite(nameOf(space, key))
    query(`DELETE FROM ${rowTable} WHERE space = ? AND key = ?`, [space, key])
  }
  const living = "space = ? AND (expires IS NULL OR expires > ?)"
  return {
    /** The value of a key, unless it has expired. */
    row: (space: string, key: string): Row | undefined => {
      onRead(nameOf(space, key))
      const [row] = query(`SELECT value, expires FROM ${rowTable} WHERE space = ? AND key = ?`, [space, key])
      if (row === undefined) return undefined
      const [value, expires] = row
      // Only a key that expires makes the reader depend on the time.
      if (typeof expires === "number" && expires <= now()) return undefined
      return {
        value: value instanceof Uint8Array ? value : String(value),
        expires: typeof expires === "number" ? expires : null
      }
    },
    set: (space: string, key: string, value: string | Uint8Array, timeToLive: Duration.Duration | undefined): void => {
      const at = now()
      const expires = timeToLive === undefined ? null : expiryOf(at, timeToLive)
      if (expires !== null && expires <= at) remove(space, key)
      else put(space, key, value, expires)
    },
    /** Deletes expired rows, at most so many. */
    sweep,
    /** Sets a value without changing when it expires. */
    replace: put,
    remove,
    /** Removes the keys with a prefix. */
    clear: (space: string, prefix: string): void => {
      const end = after(prefix)
      const removed = query(
        `DELETE FROM ${rowTable} WHERE space = ? AND key >= ? ${end === undefined ? "" : "AND key < ?"} RETURNING key`,
        end === undefined ? [space, prefix] : [space, prefix, end]
      )
      for (const [key] of removed) onWrite(nameOf(space, String(key)))
    },
    size: (space: string): number => {
      onRead(undefined)
      return Number(query(`SELECT count(*) FROM ${rowTable} WHERE ${living}`, [space, now()])[0]![0])
    },
    keys: (space: string): ReadonlyArray<string> => {
      onRead(undefined)
      return query(`SELECT key FROM ${rowTable} WHERE ${living}`, [space, now()]).map(([key]) => String(key))
    }
  }
}

/** The operations on the rows of one transaction. */
export type ValueRows = ReturnType<typeof over>
