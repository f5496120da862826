/**
 * What a run of a query read, what commits wrote, and whether a write affects a read.
 * Names of tables and indexes are compared with their case, which SQLite ignores: record them from the declaration or
 * from `sqlite_master`, not from the text of a statement.
 */
import { compareKeys, comparePositions, type Key, Range } from "./KeyOrder.ts"

/** What one run of a query read. */
export interface ReadSet {
  /** Whether the whole database was read; `tables` and `ranges` are then empty. */
  readonly everything: boolean
  /** Tables that were read as a whole. */
  readonly tables: ReadonlySet<string>
  /** Ranges of indexes of tables that are not in `tables`, by `indexKey`. */
  readonly ranges: ReadonlyMap<string, IndexRanges>
  /** Whether the run read the caller's identity. */
  readonly identity: boolean
  /** Whether the run read the time. */
  readonly clock: boolean
}

/** The read set of a run that read nothing. */
export const readsOfNothing: ReadSet = {
  everything: false,
  tables: new Set(),
  ranges: new Map(),
  identity: false,
  clock: false
}

/** The ranges that were read in one index of one table: ascending, disjoint, not empty. */
export interface IndexRanges {
  readonly table: string
  readonly index: string
  readonly ranges: ReadonlyArray<Range>
}

/** What one or more commits wrote. */
export interface WriteSet {
  /** Whether any table may have been written; the other members are then empty. */
  readonly everything: boolean
  /** Tables whose written rows are known: they are in `keys`. */
  readonly rowTables: ReadonlySet<string>
  /** Tables whose written rows are unknown. They are in neither `rowTables` nor `keys`. */
  readonly rawTables: ReadonlySet<string>
  /** The old and new keys of every written row in every index of its table, by `indexKey`. */
  readonly keys: ReadonlyMap<string, IndexKeys>
}

/** The keys that were written in one index of one table: ascending and distinct. */
export interface IndexKeys {
  readonly table: string
  readonly index: string
  readonly keys: ReadonlyArray<Key>
}

/** Identifies an index of a table in maps. JSON, because names joined by a separator could collide. */
export const indexKey = (table: string, index: string): string => JSON.stringify([table, index])

/** Whether no write can affect a read set. */
export const readsNothing = (reads: ReadSet): boolean =>
  !reads.everything && reads.tables.size === 0 && reads.ranges.size === 0

/** Whether a write set can affect no read set. */
export const writesNothing = (writes: WriteSet): boolean =>
  !writes.everything && writes.rowTables.size === 0 && writes.rawTables.size === 0

/**
 * Whether a write set affects a read set. This is the definition; `ReadIndex` does the same for many read sets at once.
 */
export const touches = (reads: ReadSet, writes: WriteSet): boolean => {
  if (readsNothing(reads) || writesNothing(writes)) return false
  if (reads.everything || writes.everything) return true
  for (const table of reads.tables) {
    if (writes.rowTables.has(table) || writes.rawTables.has(table)) return true
  }
  for (const [index, { table, ranges }] of reads.ranges) {
    if (writes.rawTables.has(table)) return true
    const keys = writes.keys.get(index)?.keys ?? []
    if (keys.some((key) => ranges.some((range) => Range.contains(range, key)))) return true
  }
  return false
}

/** Collects what one run of a query reads. */
export class ReadRecorder {
  #everything = false
  #identity = false
  #clock = false
  readonly #tables = new Set<string>()
  readonly #indexes = new Map<
    string,
    { readonly table: string; readonly index: string; readonly ranges: Array<Range> }
  >()

  /** Records a read of a range of an index, whether or not it had rows. */
  range(table: string, index: string, range: Range): void {
    const key = indexKey(table, index)
    const recorded = this.#indexes.get(key)
    if (recorded === undefined) this.#indexes.set(key, { table, index, ranges: [range] })
    else recorded.ranges.push(range)
  }

  /** Records a read of a whole table. */
  table(name: string): void {
    this.#tables.add(name)
  }

  /** Records a read of the whole database, for a statement that could not be analyzed. */
  everything(): void {
    this.#everything = true
  }

  /** Records a read of the caller's identity. */
  identity(): void {
    this.#identity = true
  }

  /** Records a read of the time. */
  clock(): void {
    this.#clock = true
  }

  /** What was read so far, with overlapping ranges merged. */
  toReadSet(): ReadSet {
    const ranges = new Map<string, IndexRanges>()
    if (!this.#everything) {
      for (const [key, read] of this.#indexes) {
        if (this.#tables.has(read.table)) continue
        const merged = mergeRanges(read.ranges)
        if (merged.length > 0) ranges.set(key, { table: read.table, index: read.index, ranges: merged })
      }
    }
    return {
      everything: this.#everything,
      tables: new Set(this.#everything ? [] : this.#tables),
      ranges,
      identity: this.#identity,
      clock: this.#clock
    }
  }
}

/** A point in the journal of a `WriteRecorder`. */
export type WriteMark = number

type Write =
  | { readonly _tag: "Key"; readonly table: string; readonly index: string; readonly key: Key }
  | { readonly _tag: "Table"; readonly table: string }
  | { readonly _tag: "Everything" }

/** Collects what a commit writes, in a journal, so that a nested transaction can be rolled back. */
export class WriteRecorder {
  readonly #journal: Array<Write> = []

  /** Records a key of a written row. Call with the old and with the new key, for every index of the table. */
  key(table: string, index: string, key: Key): void {
    this.#journal.push({ _tag: "Key", table, index, key })
  }

  /** Records a write of unknown rows of a table. */
  table(name: string): void {
    this.#journal.push({ _tag: "Table", table: name })
  }

  /** Records a write of any table, for a statement that could not be analyzed. */
  everything(): void {
    this.#journal.push({ _tag: "Everything" })
  }

  /** Whether nothing was written. */
  get isEmpty(): boolean {
    return this.#journal.length === 0
  }

  /** Whether unknown rows of a table were written. */
  wroteTable(name: string): boolean {
    return this.#journal.some(
      (write) => write._tag === "Everything" || (write._tag === "Table" && write.table === name)
    )
  }

  /** Adds what another recorder holds. */
  merge(other: WriteRecorder): void {
    // Up to the length at the start, so that merging a recorder into itself terminates.
    const length = other.#journal.length
    for (let i = 0; i < length; i++) this.#journal.push(other.#journal[i]!)
  }

  /** Marks the current point of the journal. */
  mark(): WriteMark {
    return this.#journal.length
  }

  /** Drops what was recorded since the mark. Later marks become invalid. */
  rollbackTo(mark: WriteMark): void {
    if (mark > this.#journal.length) throw new RangeError("This mark was already rolled back")
    this.#journal.length = mark
  }

  /** What was written so far, without duplicates. */
  toWriteSet(): WriteSet {
    const everything = this.#journal.some((write) => write._tag === "Everything")
    const journal = everything ? [] : this.#journal
    const rawTables = new Set<string>()
    for (const write of journal) if (write._tag === "Table") rawTables.add(write.table)

    const rowTables = new Set<string>()
    const keys = new Map<string, { readonly table: string; readonly index: string; keys: Array<Key> }>()
    for (const write of journal) {
      if (write._tag !== "Key" || rawTables.has(write.table)) continue
      rowTables.add(write.table)
      const key = indexKey(write.table, write.index)
      const written = keys.get(key)
      if (written === undefined) keys.set(key, { table: write.table, index: write.index, keys: [write.key] })
      else written.keys.push(write.key)
    }
    for (const written of keys.values()) written.keys = distinctKeys(written.keys)
    return { everything, rowTables, rawTables, keys }
  }
}

/** Sorts ranges and merges those that overlap or touch. Drops empty ones. */
const mergeRanges = (ranges: ReadonlyArray<Range>): Array<Range> => {
  const sorted = ranges.filter((range) => !Range.isEmpty(range)).sort((a, b) => comparePositions(a.from, b.from))
  const merged: Array<Range> = []
  for (const range of sorted) {
    const last = merged.at(-1)
    if (last === undefined || comparePositions(last.to, range.from) < 0) merged.push(range)
    else if (comparePositions(last.to, range.to) < 0) merged[merged.length - 1] = Range.make(last.from, range.to)
  }
  return merged
}

const distinctKeys = (keys: ReadonlyArray<Key>): Array<Key> =>
  keys.toSorted(compareKeys).filter((key, i, sorted) => i === 0 || compareKeys(sorted[i - 1]!, key) !== 0)
