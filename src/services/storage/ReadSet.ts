/**
 * What a run of a query read, what commits wrote, and when the one touches the other.
 *
 * Table and index names are compared as they are. SQLite ignores their letter case, so whoever records them takes them
 * from the declaration or from the catalogue, never from the text of a statement.
 */
import { compareKeys, comparePositions, type Key, Range } from "./KeyOrder.ts"

/** What one run of a query read. A run that read nothing can be touched by no write. */
export interface ReadSet {
  /** The whole database; `tables` and `ranges` are then empty. */
  readonly everything: boolean
  /** Tables read as a whole. */
  readonly tables: ReadonlySet<string>
  /** Parts of tables that are not in `tables`, by `indexKey`. */
  readonly ranges: ReadonlyMap<string, IndexRanges>
  /** Whether the run looked at who is calling. */
  readonly identity: boolean
  /** Whether the run looked at the time. */
  readonly clock: boolean
}

/** What a run read that read nothing. */
export const readsOfNothing: ReadSet = {
  everything: false,
  tables: new Set(),
  ranges: new Map(),
  identity: false,
  clock: false
}

/** The ranges read of one index of one table: ascending, apart from each other, none of them empty. */
export interface IndexRanges {
  readonly table: string
  readonly index: string
  readonly ranges: ReadonlyArray<Range>
}

/** What one or several commits wrote. */
export interface WriteSet {
  /** The whole database; the other members are then empty. */
  readonly everything: boolean
  /** Tables written row by row: those with `keys`. */
  readonly rowTables: ReadonlySet<string>
  /** Tables written by a statement whose rows are not known. They are in neither `rowTables` nor `keys`. */
  readonly rawTables: ReadonlySet<string>
  /** Old and new key of every written row, in every index of its table, by `indexKey`. */
  readonly keys: ReadonlyMap<string, IndexKeys>
}

/** The keys written in one index of one table: ascending and distinct. */
export interface IndexKeys {
  readonly table: string
  readonly index: string
  readonly keys: ReadonlyArray<Key>
}

/** One string for one index of one table. JSON, because names joined by any separator could collide. */
export const indexKey = (table: string, index: string): string => JSON.stringify([table, index])

export const readsNothing = (reads: ReadSet): boolean =>
  !reads.everything && reads.tables.size === 0 && reads.ranges.size === 0

export const writesNothing = (writes: WriteSet): boolean =>
  !writes.everything && writes.rowTables.size === 0 && writes.rawTables.size === 0

/**
 * Whether what was read may have changed. This is the definition; `ReadIndex` answers the same question for many read
 * sets at once.
 */
export const touches = (reads: ReadSet, writes: WriteSet): boolean => {
  if (readsNothing(reads) || writesNothing(writes)) return false
  if (reads.everything || writes.everything) return true
  for (const table of reads.tables) {
    if (writes.rowTables.has(table) || writes.rawTables.has(table)) return true
  }
  for (const [space, { table, ranges }] of reads.ranges) {
    if (writes.rawTables.has(table)) return true
    const keys = writes.keys.get(space)?.keys ?? []
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
  readonly #spaces = new Map<
    string,
    { readonly table: string; readonly index: string; readonly ranges: Array<Range> }
  >()

  /** The part of an index that was scannedRange, whether or not there was a row in it. */
  range(table: string, index: string, range: Range): void {
    const space = indexKey(table, index)
    const known = this.#spaces.get(space)
    if (known === undefined) this.#spaces.set(space, { table, index, ranges: [range] })
    else known.ranges.push(range)
  }

  /** The whole table. */
  table(name: string): void {
    this.#tables.add(name)
  }

  /** The whole database: for a read that could not be understood. */
  everything(): void {
    this.#everything = true
  }

  identity(): void {
    this.#identity = true
  }

  clock(): void {
    this.#clock = true
  }

  /** What was read so far, each part of it said once. */
  toReadSet(): ReadSet {
    const ranges = new Map<string, IndexRanges>()
    if (!this.#everything) {
      for (const [space, read] of this.#spaces) {
        if (this.#tables.has(read.table)) continue
        const merged = mergeRanges(read.ranges)
        if (merged.length > 0) ranges.set(space, { table: read.table, index: read.index, ranges: merged })
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

/** How much a `WriteRecorder` held at one moment. */
export type WriteMark = number

type Write =
  | { readonly _tag: "Key"; readonly table: string; readonly index: string; readonly key: Key }
  | { readonly _tag: "Table"; readonly table: string }
  | { readonly _tag: "Everything" }

/** Collects what a commit writes: a journal, so that a nested transaction that rolls back leaves nothing. */
export class WriteRecorder {
  readonly #journal: Array<Write> = []

  /** One key of a written row. To be called with the old and with the new key, for every index of the table. */
  key(table: string, index: string, key: Key): void {
    this.#journal.push({ _tag: "Key", table, index, key })
  }

  /** A write of the table by a statement whose rows are not known. */
  table(name: string): void {
    this.#journal.push({ _tag: "Table", table: name })
  }

  /** A write that could not be understood. */
  everything(): void {
    this.#journal.push({ _tag: "Everything" })
  }

  get isEmpty(): boolean {
    return this.#journal.length === 0
  }

  /** Adds what another recorder holds now. */
  merge(other: WriteRecorder): void {
    // By index and up to the length at the start, so that merging a recorder into itself ends.
    const length = other.#journal.length
    for (let i = 0; i < length; i++) this.#journal.push(other.#journal[i]!)
  }

  mark(): WriteMark {
    return this.#journal.length
  }

  /** Forgets what was recorded since the mark. Marks taken after it are void. */
  rollbackTo(mark: WriteMark): void {
    if (mark > this.#journal.length) throw new RangeError("This mark was already rolled back")
    this.#journal.length = mark
  }

  /** What was written so far, each part of it said once. */
  toWriteSet(): WriteSet {
    const everything = this.#journal.some((write) => write._tag === "Everything")
    const journal = everything ? [] : this.#journal
    const rawTables = new Set<string>()
    for (const write of journal) if (write._tag === "Table") rawTables.add(write.table)

    const rowTables = new Set<string>()
    const spaces = new Map<string, { readonly table: string; readonly index: string; keys: Array<Key> }>()
    for (const write of journal) {
      if (write._tag !== "Key" || rawTables.has(write.table)) continue
      rowTables.add(write.table)
      const space = indexKey(write.table, write.index)
      const known = spaces.get(space)
      if (known === undefined) spaces.set(space, { table: write.table, index: write.index, keys: [write.key] })
      else known.keys.push(write.key)
    }
    for (const space of spaces.values()) space.keys = distinctKeys(space.keys)
    return { everything, rowTables, rawTables, keys: spaces }
  }
}

/** The same keys as fewest ranges: ranges that overlap or meet become one, empty ones go. */
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
