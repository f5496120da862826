/**
 * SQLite's order of values and index keys, so that the engine can decide without a query whether a row is in a range.
 * The order is that of the BINARY collation, all columns ascending. Reads through a column with another collation must
 * be recorded as reads of the whole table.
 */
import type { Ordering } from "effect/Ordering"

/**
 * A value as SQLite stores it. `NaN` counts as `null`, because SQLite stores it as NULL.
 *
 * Two kinds of values must not be part of a stored key, because JavaScript does not read back what SQLite compares:
 * - integers beyond 2^53, which JavaScript rounds, so that an exclusive bound next to one could miss it;
 * - text with half a surrogate pair, which workerd stores as three bytes that are not UTF-8, and `node:sqlite` as
 *   U+FFFD.
 */
export type SqlValue = null | number | string | Uint8Array

/** The values of an index's columns, in the order of the index; or a prefix of them. */
export type Key = ReadonlyArray<SqlValue>

/** SQLite's order of two values: NULL, then numbers, then text, then blobs. */
export const compareValues = (a: SqlValue, b: SqlValue): Ordering => {
  if (typeof a === "string" && typeof b === "string") return compareText(a, b)
  if (isBlob(a) && isBlob(b)) return compareBlobs(a, b)
  const classOfA = storageClass(a)
  const classOfB = storageClass(b)
  if (classOfA !== classOfB || a === null || b === null) return compareNumbers(classOfA, classOfB)
  return a < b ? -1 : a > b ? 1 : 0
}

/** Compares keys column by column. A key sorts before longer keys that start with it. */
export const compareKeys = (a: Key, b: Key): Ordering => {
  const order = compareShared(a, b)
  return order === 0 ? compareNumbers(a.length, b.length) : order
}

/**
 * A position between keys: directly before (`after: false`) or directly after (`after: true`) all keys that start with
 * `key`. No key is at a position, so bounds need no flag for open or closed.
 */
export interface Position {
  readonly key: Key
  readonly after: boolean
}

/** Makes positions. */
export const Position = {
  /** Before every key that starts with `prefix`. */
  before: (prefix: Key): Position => ({ key: prefix, after: false }),
  /** After every key that starts with `prefix`. */
  after: (prefix: Key): Position => ({ key: prefix, after: true }),
  /** Before every possible key. */
  start: { key: [], after: false } satisfies Position,
  /** After every possible key. */
  end: { key: [], after: true } satisfies Position
}

/** The order of two positions. */
export const comparePositions = (a: Position, b: Position): Ordering => {
  const order = compareShared(a.key, b.key)
  if (order !== 0) return order
  if (a.key.length === b.key.length) return a.after === b.after ? 0 : a.after ? 1 : -1
  // One prefix starts with the other: keys with the longer prefix are between the two positions of the shorter one.
  if (a.key.length < b.key.length) return a.after ? 1 : -1
  return b.after ? -1 : 1
}

/** Whether a key is before (-1) or after (1) a position. */
export const compareKeyToPosition = (key: Key, position: Position): -1 | 1 => {
  const order = compareShared(key, position.key)
  if (order !== 0) return order
  // A key that is shorter than the prefix sorts before all keys with the prefix.
  return key.length >= position.key.length && !position.after ? 1 : -1
}

/**
 * The keys between two positions. A bound on the column after a fixed prefix is a position too: the keys with
 * `channel = c AND sentAt > t` are `Range.make(Position.after([c, t]), Position.after([c]))`.
 */
export interface Range {
  readonly from: Position
  readonly to: Position
}

/** Makes and tests ranges. */
export const Range = {
  /** The keys between two positions. */
  make: (from: Position, to: Position): Range => ({ from, to }),
  /** All keys that start with `prefix`. */
  prefix: (prefix: Key): Range => ({ from: Position.before(prefix), to: Position.after(prefix) }),
  /** One complete key. All keys of an index have the same length, so no other key starts with it. */
  point: (key: Key): Range => Range.prefix(key),
  /** All keys. */
  everything: { from: Position.start, to: Position.end } satisfies Range,
  /** Whether a key is in the range. */
  contains: (range: Range, key: Key): boolean =>
    compareKeyToPosition(key, range.from) > 0 && compareKeyToPosition(key, range.to) < 0,
  /** Whether no key can be in the range: its positions are equal or reversed. */
  isEmpty: (range: Range): boolean => comparePositions(range.from, range.to) >= 0
}

const isBlob = (value: SqlValue): value is Uint8Array => typeof value === "object" && value !== null

const storageClass = (value: SqlValue): 0 | 1 | 2 | 3 => {
  if (value === null) return 0
  if (typeof value === "number") return Number.isNaN(value) ? 0 : 1
  return typeof value === "string" ? 2 : 3
}

const compareNumbers = (a: number, b: number): Ordering => (a < b ? -1 : a > b ? 1 : 0)

/** Compares the columns that both keys have. */
const compareShared = (a: Key, b: Key): Ordering => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const order = compareValues(a[i]!, b[i]!)
    if (order !== 0) return order
  }
  return 0
}

const compareBlobs = (a: Uint8Array, b: Uint8Array): Ordering => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1
  }
  return compareNumbers(a.length, b.length)
}

/**
 * Compares text by its UTF-8 bytes, which sort like code points. JavaScript's `<` compares UTF-16 units, and so sorts
 * characters beyond U+FFFF before U+E000–U+FFFF.
 */
const compareText = (a: string, b: string): Ordering => {
  const length = Math.min(a.length, b.length)
  let i = 0
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++
  if (i === length) return compareNumbers(a.length, b.length)
  const unitOfA = a.charCodeAt(i)
  const unitOfB = b.charCodeAt(i)
  if (unitOfA < 0xd800 && unitOfB < 0xd800) return unitOfA < unitOfB ? -1 : 1
  // The texts may differ in the second half of a surrogate pair.
  return compareCodePoints(a, b, i > 0 && isHighSurrogate(a.charCodeAt(i - 1)) ? i - 1 : i)
}

const compareCodePoints = (a: string, b: string, start: number): Ordering => {
  let i = start
  let j = start
  while (i < a.length && j < b.length) {
    const pointOfA = codePointAt(a, i)
    const pointOfB = codePointAt(b, j)
    if (pointOfA !== pointOfB) return pointOfA < pointOfB ? -1 : 1
    i += pointOfA > 0xffff ? 2 : 1
    j += pointOfB > 0xffff ? 2 : 1
  }
  return compareNumbers(a.length - i, b.length - j)
}

/** The code point at an index. Half a surrogate pair counts as U+FFFD, as in `toWellFormed`. */
const codePointAt = (text: string, index: number): number => {
  const point = text.codePointAt(index)!
  return point >= 0xd800 && point <= 0xdfff ? 0xfffd : point
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff
