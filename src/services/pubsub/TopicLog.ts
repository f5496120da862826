/**
 * The stored messages of topics with a history: numbered for each key, and stored several to a row.
 * Rows are written in the transaction that publishes, and deleted from the oldest on.
 */
import type { InternalTable, SqlValue, Tx } from "../../contract/Transactional.ts"

/** The table of stored messages. The JSON texts of a row are separated by line breaks, which JSON has none of. */
export const topicTable: InternalTable = {
  name: "_dormouse_topics",
  create:
    "CREATE TABLE _dormouse_topics (topic TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, " +
    "length INTEGER NOT NULL, epoch TEXT NOT NULL, messages TEXT NOT NULL, PRIMARY KEY (topic, first)) WITHOUT ROWID"
}

/** The last row of a key. */
export interface Tail {
  /** The number of its first message. Those of a key are numbered from 1. */
  readonly first: number
  readonly count: number
  /** Characters of its messages. */
  readonly length: number
}

/** What is written when messages are published. */
export interface Append {
  /** Texts that are added to the last row. */
  readonly merged: ReadonlyArray<string>
  /** New rows, with the number of their first message. */
  readonly rows: ReadonlyArray<{ readonly first: number; readonly messages: ReadonlyArray<string> }>
}

/** Characters up to which messages are added to a row, which SQLite then writes again as a whole. */
const mergedLength = 8 * 1024
/** Characters of a row at most, unless a single message is longer. A row of SQLite holds 2 MB, a character takes up to 3 bytes. */
const rowLength = 256 * 1024

/** Messages of a row at most. Rows are deleted as a whole: a quarter more than the history may be kept. */
const rowCount = (history: number): number => Math.max(1, Math.floor(history / 4))

/** Divides published messages into those that fit the last row and new rows. */
export const append = (tail: Tail | undefined, messages: ReadonlyArray<string>, history: number): Append => {
  const most = rowCount(history)
  let at = 0
  if (tail !== undefined) {
    for (let { count, length } = tail; at < messages.length; at++, count++) {
      length += messages[at]!.length
      if (length > mergedLength || count >= most) break
    }
  }
  const rows: Array<{ readonly first: number; readonly messages: ReadonlyArray<string> }> = []
  const merged = messages.slice(0, at)
  while (at < messages.length) {
    const from = at
    for (let length = 0; at < messages.length && at - from < most; at++) {
      length += messages[at]!.length
      if (at > from && length > rowLength) break
    }
    rows.push({ first: nextOf(tail) + from, messages: messages.slice(from, at) })
  }
  return { merged, rows }
}

/** The number of the next message of a key. */
export const nextOf = (tail: Pick<Tail, "first" | "count"> | undefined): number =>
  tail === undefined ? 1 : tail.first + tail.count

/** How far the history of a key is. */
export interface Head {
  /** The number of the next message. */
  readonly next: number
  /** Tells the cursors of this history from those of another that had the same numbers, in a database before this one. */
  readonly epoch: string
}

/** Runs a statement and returns its rows. */
export type Run = (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>

const selectTail =
  "SELECT first, count, length, epoch FROM _dormouse_topics WHERE topic = ? ORDER BY first DESC LIMIT 1"

/** How far the history of a key is. Nothing if no message was ever published to it. */
export const headOf = (run: Run, topic: string): Head | undefined => {
  const [row] = run(selectTail, [topic])
  return row && { next: Number(row[0]) + Number(row[1]), epoch: String(row[3]) }
}

/** Stores messages, and deletes what the history need not keep. Returns the number of the first, and the epoch. */
export const write = (
  tx: Pick<Tx, "query" | "random">,
  topic: string,
  messages: ReadonlyArray<string>,
  history: number
): { readonly first: number; readonly epoch: string } => {
  const [row] = tx.query(selectTail, [topic])
  const tail = row && { first: Number(row[0]), count: Number(row[1]), length: Number(row[2]) }
  const epoch = row === undefined ? Math.abs(tx.random.nextIntUnsafe()).toString(36) : String(row[3])
  const { merged, rows } = append(tail, messages, history)
  if (tail !== undefined && merged.length > 0) {
    tx.query(
      "UPDATE _dormouse_topics SET messages = messages || ?, count = count + ?, length = length + ? WHERE topic = ? AND first = ?",
      [`\n${merged.join("\n")}`, merged.length, lengthOf(merged), topic, tail.first]
    )
  }
  for (const { first, messages } of rows) {
    tx.query("INSERT INTO _dormouse_topics VALUES (?, ?, ?, ?, ?, ?)", [
      topic,
      first,
      messages.length,
      lengthOf(messages),
      epoch,
      messages.join("\n")
    ])
  }
  const first = nextOf(tail)
  // The rows before the one that holds the oldest message to keep.
  if (rows.length > 0) {
    tx.query(
      "DELETE FROM _dormouse_topics WHERE topic = ? AND first < " +
        "(SELECT max(first) FROM _dormouse_topics WHERE topic = ? AND first <= ?)",
      [topic, topic, first + messages.length - history]
    )
  }
  return { first, epoch }
}

const lengthOf = (texts: ReadonlyArray<string>): number => texts.reduce((sum, text) => sum + text.length, 0)

/** Consecutive stored messages. */
export interface Stretch {
  readonly first: number
  readonly messages: ReadonlyArray<string>
}

/** Rows that are read at once. */
const rowsAtOnce = 8

/** The messages from a number on, or from the first that is kept: some of them. Nothing if there is none. */
export const read = (run: Run, topic: string, from: number): Stretch | undefined => {
  const rows = run(
    "SELECT first, messages FROM _dormouse_topics WHERE topic = ? AND first >= coalesce(" +
      "(SELECT max(first) FROM _dormouse_topics WHERE topic = ? AND first <= ?), 0) AND first + count > ? " +
      `ORDER BY first LIMIT ${rowsAtOnce}`,
    [topic, topic, from, from]
  )
  const [row] = rows
  if (row === undefined) return undefined
  const messages: Array<string> = []
  let length = 0
  for (const [, texts] of rows) {
    length += String(texts).length
    if (messages.length > 0 && length > rowLength) break
    for (const text of String(texts).split("\n")) messages.push(text)
  }
  const first = Math.max(from, Number(row[0]))
  return { first, messages: messages.slice(first - Number(row[0])) }
}
