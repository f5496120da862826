/**
 * Declares migrations of rows: what a schema cannot say, such as a column of another type or a value that is computed from
 * others. `App.make({ migrations })` runs each once per tenant, in steps that begin after the last key of the step before.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Model from "effect/schema/Model"
import type { MutationServices } from "./KindServices.ts"
import type { RowKey, Table } from "./Table.ts"
import type { AnyTable, IndexInput } from "./TablePlan.ts"

/** A migration of any table, as the engine sees it. */
export interface AnyMigration {
  readonly id: string
  readonly table: AnyTable
  readonly from: Readonly<Record<string, Schema.Top>>
  readonly fills: ReadonlyArray<string>
  readonly isConcurrent: boolean
  readonly rowsPerStep: number
  readonly row: (before: any, key: any) => Effect.Effect<unknown, unknown, MutationServices>
}

/** What a migration returns for a row: the fields that it fills. */
type Filled<M extends Model.Any, Fills extends string> = [Fills] extends [never]
  ? unknown
  : { readonly [Field in Fills]: M["Type"][Field & keyof M["Type"]] }

/** How a migration reads and fills the rows of a table. */
export interface MigrationOptions<
  Name extends string,
  M extends Model.Any,
  K extends string,
  Indexes extends Record<string, IndexInput<string>>,
  From extends Readonly<Record<string, Schema.Top>>,
  Fills extends string,
  E
> {
  /** The table as it is declared now. */
  readonly table: Table<Name, M, K, Indexes>
  /** The columns that it reads, as they were: of another type, or of fields that the table does not have any more. */
  readonly from: From
  /** The fields of the table that it computes. The values of a field in `from` as well are kept until all rows are done. */
  readonly fills?: ReadonlyArray<Fills>
  /**
   * Runs once for each row, in a transaction with other rows: it returns the fields that it fills, and may read and write
   * tables. A failure ends the migration, with what it has done before; the next start tries the row again.
   */
  readonly row: (
    before: Schema.Struct.Type<From>,
    key: RowKey<M, K>
  ) => Effect.Effect<Filled<M, Fills>, E, MutationServices>
  /**
   * Whether calls are answered while it runs. They then see rows that it has not filled, and it sees rows that they wrote.
   * Unless given, they fail with `Unavailable` until it has ended.
   */
  readonly concurrent?: boolean
  /** Rows of one transaction: 100 unless given. */
  readonly rowsPerStep?: number
}

/**
 * Declares a migration of a table's rows. The name is recorded with each tenant when it has ended: never use it again. Throws
 * for a field that cannot be filled.
 */
export const make = <
  Name extends string,
  M extends Model.Any,
  K extends string,
  Indexes extends Record<string, IndexInput<string>>,
  const From extends Readonly<Record<string, Schema.Top>>,
  E,
  const Fills extends keyof M["fields"] & string = never
>(
  id: string,
  options: MigrationOptions<Name, M, K, Indexes, From, Fills, E>
): AnyMigration => {
  const { concurrent = false, fills = [], from, row, rowsPerStep = 100, table } = options
  const fail = (problem: string): never => {
    throw new Error(`migration ${id}: ${problem}`)
  }
  if (id === "" || !id.isWellFormed()) fail("its name must be text that is not empty")
  if (!Number.isSafeInteger(rowsPerStep) || rowsPerStep < 1) fail("rowsPerStep must be a whole number from 1")
  for (const field of fills) {
    if (!(field in table.model.fields)) fail(`it fills ${field}, which is no field of table ${table.name}`)
    if (field === table.key) fail(`it fills ${field}, which is the key of table ${table.name}`)
  }
  if (table.key in from) fail(`it reads ${table.key} as the second argument of row: leave it out of from`)
  return { id, table, from, fills, isConcurrent: concurrent, rowsPerStep, row }
}
