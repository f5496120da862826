import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { NotUnique, Storage, StorageError } from "./Storage.ts"
import type * as Table from "./Table.ts"

/** What a query asks for, as data. */
export interface Plan<Row> {
  readonly table: Table.Any
  /** The index to follow, or `undefined` for the order of the key. */
  readonly index: string | undefined
  readonly equal: ReadonlyArray<readonly [column: string, value: unknown]>
  readonly lower: Bound | undefined
  readonly upper: Bound | undefined
  readonly descending: boolean
  readonly limit: number | undefined
  readonly filters: ReadonlyArray<(row: Row) => boolean>
}

export interface Bound {
  readonly column: string
  readonly value: unknown
  readonly inclusive: boolean
}

export interface PageOptions {
  /** How many rows a page holds at most; `take` can only make it fewer. */
  readonly size: number
  /** Where the page begins: the `next` of another page in the same order, whatever its filter was. */
  readonly after?: string | null | undefined
  /**
   * Where the page ends, however many rows it then has. Pages whose ends are given stay next to each other, without gap
   * or overlap, while rows come and go.
   */
  readonly until?: string | null | undefined
}

export interface Page<Row> {
  readonly items: ReadonlyArray<Row>
  /** The place after the last row, or `null` when no row follows. Opaque. */
  readonly next: string | null
  /** A place in the middle of a page with a given end that grew beyond twice its size, or `null`. */
  readonly split: string | null
}

/** The columns of an index in order, ending with the key. */
export type Columns<I extends Table.IndexInput<string>, K extends string> = I extends {
  readonly columns: infer C extends ReadonlyArray<string>
}
  ? WithKey<C, K>
  : I extends ReadonlyArray<string>
    ? WithKey<I, K>
    : never

type WithKey<C extends ReadonlyArray<string>, K extends string> = K extends C[number] ? C : readonly [...C, K]
type Tail<C extends ReadonlyArray<string>> = C extends readonly [string, ...infer Rest extends ReadonlyArray<string>]
  ? Rest
  : []
type Value<Row, C> = Row[C & keyof Row]

/**
 * Rows in the order of an index. Columns are fixed from the left: `eq` for as many as wanted, then at most one range.
 * The query itself is an effect of all its rows. `Cols` are the columns that are not fixed yet, `Ranged` is the one that
 * may have a range.
 */
export class TableQuery<Row, Cols extends ReadonlyArray<string>, Ranged = Cols[0]> extends Effectable.Class<
  ReadonlyArray<Row>,
  StorageError,
  Storage
> {
  readonly plan: Plan<Row>
  constructor(plan: Plan<Row>) {
    super()
    this.plan = plan
  }

  asEffect(): Effect.Effect<ReadonlyArray<Row>, StorageError, Storage> {
    return Storage.use((storage) => storage.collect(this.plan))
  }

  /** Rows whose next column equals the value; `null` and missing values included. */
  eq<C extends Cols[0]>(column: C, value: Value<Row, C>): TableQuery<Row, Tail<Cols>> {
    return new TableQuery<Row, Tail<Cols>>({ ...this.plan, equal: [...this.plan.equal, [column, value]] })
  }
  gt<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, lower: { column, value, inclusive: false } })
  }
  gte<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, lower: { column, value, inclusive: true } })
  }
  lt<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, upper: { column, value, inclusive: false } })
  }
  lte<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, upper: { column, value, inclusive: true } })
  }

  /** In the order of the index; NULL comes first, text by the bytes of its UTF-8. This is the default. */
  get ascending(): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, descending: false })
  }
  /** Against the order of the index. */
  get descending(): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, descending: true })
  }
  /** At most this many rows, counted after the filters. */
  take(count: number): TableQuery<Row, Cols, Ranged> {
    const limit = Math.max(0, Math.floor(count) || 0)
    return new TableQuery({ ...this.plan, limit: Math.min(limit, this.plan.limit ?? limit) })
  }
  /** Keeps the rows for which the predicate holds. Rows are read one by one until `take` is satisfied. */
  filter(predicate: (row: Row) => boolean): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, filters: [...this.plan.filters, predicate] })
  }

  /** The first row, if any. */
  get first(): Effect.Effect<Option.Option<Row>, StorageError, Storage> {
    return Effect.map(this.take(1).asEffect(), (rows) => Option.fromUndefinedOr(rows[0]))
  }
  /** The only row, if any; fails with `NotUnique` when there are two. */
  get unique(): Effect.Effect<Option.Option<Row>, StorageError, Storage> {
    return Effect.flatMap(this.take(2).asEffect(), (rows) =>
      rows.length > 1
        ? Effect.fail(new StorageError({ reason: new NotUnique({ table: this.plan.table.name }) }))
        : Effect.succeed(Option.fromUndefinedOr(rows[0]))
    )
  }
  /** How many rows there are. */
  get count(): Effect.Effect<number, StorageError, Storage> {
    return Storage.use((storage) => storage.count(this.plan))
  }
  /** Whether there is a row. */
  get exists(): Effect.Effect<boolean, StorageError, Storage> {
    return Effect.map(this.take(1).count, (count) => count > 0)
  }
  /** The rows one by one: no more are read than are taken. They are given as they were when the first one was read. */
  get stream(): Stream.Stream<Row, StorageError, Storage> {
    return Stream.unwrap(Effect.map(Storage, (storage) => storage.stream(this.plan)))
  }
  /** A page of rows, and the cursor of the next. */
  page(options: PageOptions): Effect.Effect<Page<Row>, StorageError, Storage> {
    return Storage.use((storage) => storage.page(this.plan, options))
  }
}

export const make = (table: Table.Any, index: string | undefined): TableQuery<any, any, any> =>
  new TableQuery({
    table,
    index,
    equal: [],
    lower: undefined,
    upper: undefined,
    descending: false,
    limit: undefined,
    filters: []
  })
