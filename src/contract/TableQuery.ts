/**
 * Queries on one table, typed by the index that they follow. Each method returns a new query with a larger plan.
 * A query is an effect of its rows; the `Storage` service turns its plan into SQL.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { NotUnique, Storage, StorageError } from "./Storage.ts"
import type { AnyTable, IndexInput, Page, PageOptions, Plan } from "./TablePlan.ts"

export type { Bound, Page, PageOptions, Plan } from "./TablePlan.ts"

/** The columns of an index in order, the key last. */
export type Columns<I extends IndexInput<string>, K extends string> = I extends {
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
 * Rows in the order of an index. Columns are fixed from the left: `eq` for any number of them, then at most one range.
 * The query itself is an effect of all its rows. `Cols` are the columns that are not fixed yet, `Ranged` is the column
 * that may have a range.
 */
export class TableQuery<Row, Cols extends ReadonlyArray<string>, Ranged = Cols[0]> extends Effectable.Class<
  ReadonlyArray<Row>,
  StorageError,
  Storage
> {
  /** The query, as data. */
  readonly plan: Plan<Row>

  constructor(plan: Plan<Row>) {
    super()
    this.plan = plan
  }

  /** The query as an effect of all its rows. */
  asEffect(): Effect.Effect<ReadonlyArray<Row>, StorageError, Storage> {
    return Storage.use((storage) => storage.collect(this.plan))
  }

  /** Rows whose next column equals the value. `null` matches rows whose column is null or missing. */
  eq<C extends Cols[0]>(column: C, value: Value<Row, C>): TableQuery<Row, Tail<Cols>> {
    return new TableQuery<Row, Tail<Cols>>({ ...this.plan, equal: [...this.plan.equal, [column, value]] })
  }
  /** Rows whose next column is greater than the value. */
  gt<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, lower: { column, value, inclusive: false } })
  }
  /** Rows whose next column is greater than or equal to the value. */
  gte<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, lower: { column, value, inclusive: true } })
  }
  /** Rows whose next column is less than the value. Null and missing values are in no range. */
  lt<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, upper: { column, value, inclusive: false } })
  }
  /** Rows whose next column is less than or equal to the value. Null and missing values are in no range. */
  lte<C extends Ranged & string>(column: C, value: Value<Row, C>): TableQuery<Row, [], C> {
    return new TableQuery({ ...this.plan, upper: { column, value, inclusive: true } })
  }

  /** In the order of the index, the default. NULL sorts first; text sorts by its UTF-8 bytes. */
  get ascending(): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, descending: false })
  }
  /** In the reverse order of the index. */
  get descending(): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, descending: true })
  }
  /** At most this many rows, counted after the filters. */
  take(count: number): TableQuery<Row, Cols, Ranged> {
    const limit = Math.max(0, Math.floor(count) || 0)
    return new TableQuery({ ...this.plan, limit: Math.min(limit, this.plan.limit ?? limit) })
  }
  /** Keeps the rows for which the predicate returns true. Rows are read one by one until `take` has enough. */
  filter(predicate: (row: Row) => boolean): TableQuery<Row, Cols, Ranged> {
    return new TableQuery({ ...this.plan, filters: [...this.plan.filters, predicate] })
  }

  /** The first row, if any. */
  get first(): Effect.Effect<Option.Option<Row>, StorageError, Storage> {
    return Effect.map(this.take(1).asEffect(), (rows) => Option.fromUndefinedOr(rows[0]))
  }
  /** The only row, if any. Fails with `NotUnique` when there is more than one. */
  get unique(): Effect.Effect<Option.Option<Row>, StorageError, Storage> {
    return Effect.flatMap(this.take(2).asEffect(), (rows) =>
      rows.length > 1
        ? Effect.fail(new StorageError({ reason: new NotUnique({ table: this.plan.table.name }) }))
        : Effect.succeed(Option.fromUndefinedOr(rows[0]))
    )
  }
  /** The number of rows. */
  get count(): Effect.Effect<number, StorageError, Storage> {
    return Storage.use((storage) => storage.count(this.plan))
  }
  /** Whether there is at least one row. */
  get exists(): Effect.Effect<boolean, StorageError, Storage> {
    return Effect.map(this.take(1).count, (count) => count > 0)
  }
  /** The rows one by one, read as they are consumed. Writes after the first row was read do not change them. */
  get stream(): Stream.Stream<Row, StorageError, Storage> {
    return Stream.unwrap(Effect.map(Storage, (storage) => storage.stream(this.plan)))
  }
  /** A page of rows, with the cursor of the next page. */
  page(options: PageOptions): Effect.Effect<Page<Row>, StorageError, Storage> {
    return Storage.use((storage) => storage.page(this.plan, options))
  }
}

/** The query of all rows of a table, in the order of an index, or of the key. */
export const make = (table: AnyTable, index: string | undefined): TableQuery<any, any, any> =>
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
