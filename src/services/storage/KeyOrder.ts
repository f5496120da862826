/**
 * SQLite's order of values and of index keys, so that "would this row have been read?" can be answered without asking
 * the database.
 *
 * The order is that of the BINARY collation with every column ascending. A column with another collation is outside of
 * what this module knows: what is read through it has to be recorded as the whole table.
 *
 * Two kinds of values must not become part of a stored key, because JavaScript does not read back what SQLite compares:
 * - integers beyond 2^53, which come back rounded, so that an exclusive bound next to one could miss it;
 * - text with half a surrogate pair, which workerd stores as three bytes that are no UTF-8 (`node:sqlite` stores
 *   U+FFFD). `String.prototype.toWellFormed` before binding keeps all sides in agreement.
 */
import type { Ordering } from "effect/Ordering"

/** A value as SQLite stores it. `NaN` counts as `null`, because that is what SQLite makes of it. */
export type SqlValue = null | number | string | Uint8Array

/** The values of an index's columns, in the index's order; or the first few of them, where a prefix is meant. */
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

/** Column by column; a key comes before the longer ones that start with it. */
export const compareKeys = (a: Key, b: Key): Ordering => {
  const order = compareShared(a, b)
  return order === 0 ? compareNumbers(a.length, b.length) : order
}

/**
 * A place between keys: just before (`after: false`) or just after (`after: true`) all keys that start with `key`. No
 * key is ever at a position, so open and closed bounds need no further flag.
 */
export interface Position {
  readonly key: Key
  readonly after: boolean
}

export const Position = {
  /** Before every key that starts with `prefix`. */
  before: (prefix: Key): Position => ({ key: prefix, after: false }),
  /** After every key that starts with `prefix`. */
  after: (prefix: Key): Position => ({ key: prefix, after: true }),
  /** Before every key there can be. */
  start: { key: [], after: false } satisfies Position,
  /** After every key there can be. */
  end: { key: [], after: true } satisfies Position
}

export const comparePositions = (a: Position, b: Position): Ordering => {
  const order = compareShared(a.key, b.key)
  if (order !== 0) return order
  if (a.key.length === b.key.length) return a.after === b.after ? 0 : a.after ? 1 : -1
  // One prefix starts with the other, and all that starts with the longer one is between the two sides of the shorter.
  if (a.key.length < b.key.length) return a.after ? 1 : -1
  return b.after ? -1 : 1
}

/** On which side of the position the key is; never 0. */
export const compareKeyToPosition = (key: Key, position: Position): -1 | 1 => {
  const order = compareShared(key, position.key)
  if (order !== 0) return order
  // A key shorter than the prefix comes before all that starts with the prefix.
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

export const Range = {
  make: (from: Position, to: Position): Range => ({ from, to }),
  /** All keys that start with `prefix`; the empty prefix gives all keys. */
  prefix: (prefix: Key): Range => ({ from: Position.before(prefix), to: Position.after(prefix) }),
  /** One whole key. All keys of an index have the same length, so nothing else starts with it. */
  point: (key: Key): Range => Range.prefix(key),
  everything: { from: Position.start, to: Position.end } satisfies Range,
  contains: (range: Range, key: Key): boolean =>
    compareKeyToPosition(key, range.from) > 0 && compareKeyToPosition(key, range.to) < 0,
  /** Whether no key can be inside: the positions coincide or are the wrong way round. */
  isEmpty: (range: Range): boolean => comparePositions(range.from, range.to) >= 0
}

const isBlob = (value: SqlValue): value is Uint8Array => typeof value === "object" && value !== null

const storageClass = (value: SqlValue): 0 | 1 | 2 | 3 => {
  if (value === null) return 0
  if (typeof value === "number") return Number.isNaN(value) ? 0 : 1
  return typeof value === "string" ? 2 : 3
}

const compareNumbers = (a: number, b: number): Ordering => (a < b ? -1 : a > b ? 1 : 0)

/** Compares as many columns as both have. */
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
 * UTF-8 bytes sort like code points. JavaScript's own `<` sorts UTF-16 units, which puts the astral characters
 * (D800–DFFF as units) before U+E000–U+FFFF.
 */
const compareText = (a: string, b: string): Ordering => {
  const length = Math.min(a.length, b.length)
  let i = 0
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++
  if (i === length) return compareNumbers(a.length, b.length)
  const unitOfA = a.charCodeAt(i)
  const unitOfB = b.charCodeAt(i)
  if (unitOfA < 0xd800 && unitOfB < 0xd800) return unitOfA < unitOfB ? -1 : 1
  // The difference may be in the second half of a pair whose first half both have.
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

/** Half a surrogate pair counts as U+FFFD: that is what `toWellFormed` makes of it. */
const codePointAt = (text: string, index: number): number => {
  const point = text.codePointAt(index)!
  return point >= 0xd800 && point <= 0xdfff ? 0xfffd : point
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff
