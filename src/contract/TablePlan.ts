/**
 * Tables and the queries on them as plain data: what a table declares, which rows a query selects, what a page holds.
 * Apart from `Table` and `TableQuery`, because the `Storage` service takes these types and both modules use the
 * service.
 */
import type * as Model from "effect/schema/Model"

/** The columns of an index, in order. An array declares an index that is not unique. */
export type IndexInput<Column extends string> =
  | ReadonlyArray<Column>
  | { readonly columns: ReadonlyArray<Column>; readonly unique: boolean }

/** An index of a table. */
export interface Index {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  readonly unique: boolean
}

/** A column that holds the key of a row of a table. */
export interface Reference {
  /** A function, because tables may refer to each other and to themselves. */
  readonly table: () => AnyTable
  /** What happens to the referring row when the row it refers to is deleted. `restrict` unless given. */
  readonly onDelete?: "restrict" | "cascade" | "setNull"
}

/** The names that a table and its columns had before. */
export interface RenamedFrom {
  readonly table: ReadonlyArray<string>
  readonly columns: Readonly<Record<string, ReadonlyArray<string>>>
}

/** A table of any type, as the engine sees it. */
export interface AnyTable {
  readonly name: string
  readonly model: Model.Any
  /** The name of the key's column. */
  readonly key: string
  /** The declared indexes, and one for each reference with which no declared index begins. */
  readonly indexes: ReadonlyMap<string, Index>
  /** The references, by column. */
  readonly references: ReadonlyMap<string, Reference>
  /** Columns that a migration may drop, with their data, if the database still has them. */
  readonly dropped: ReadonlySet<string>
  /** The names that the table and its columns had before, if they had others. */
  readonly renamedFrom?: RenamedFrom
  /** Fields that are in no variant for the wire, such as those of `Model.Sensitive`. */
  readonly sensitive: ReadonlySet<string>
}

/** A query on a table: which rows it selects, and in which order. */
export interface Plan<Row> {
  readonly table: AnyTable
  /** The index to follow, or `undefined` for the order of the key. */
  readonly index: string | undefined
  /** The fixed values of the index's first columns. */
  readonly equal: ReadonlyArray<readonly [column: string, value: unknown]>
  /** The lower bound of the next column. */
  readonly lower: Bound | undefined
  /** The upper bound of the next column. */
  readonly upper: Bound | undefined
  readonly descending: boolean
  /** How many rows at most, counted after the filters. */
  readonly limit: number | undefined
  readonly filters: ReadonlyArray<(row: Row) => boolean>
}

/** One end of a range of a column's values. */
export interface Bound {
  readonly column: string
  readonly value: unknown
  readonly inclusive: boolean
}

/** Which page of a query to read. */
export interface PageOptions {
  /** How many rows a page holds at most; `take` can only make it fewer. */
  readonly size: number
  /** The cursor after which the page begins: the `next` of another page in the same order, whatever its filters. */
  readonly after?: string | null | undefined
  /**
   * The cursor at which the page ends, however many rows it then has. Pages with fixed ends stay adjacent, without gap
   * or overlap, while rows are inserted and deleted.
   */
  readonly until?: string | null | undefined
}

/** A page of rows. */
export interface Page<Row> {
  readonly items: ReadonlyArray<Row>
  /** The cursor after the last row, or `null` when no row follows. Opaque. */
  readonly next: string | null
  /** A cursor in the middle of a page with a fixed end that grew to more than twice its size, or `null`. */
  readonly split: string | null
}
