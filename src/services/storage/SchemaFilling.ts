/**
 * Columns that a data migration fills while the app runs over them: which they are, where the column waits that one of them
 * had before, and how a version of the app that does not have the migration gets that column back.
 */
import * as Equal from "effect/Equal"
import { memoize } from "effect/Function"
import type * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import type { AnyMigration } from "../../contract/Migration.ts"
import type { Problem } from "../../contract/MigrationPlan.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import * as RowCodec from "./RowCodec.ts"
import { type Declared, toRecorded } from "./SchemaDeclaration.ts"
import { type RecordedColumn, type RecordedTable, reporter, type Statement } from "./SchemaRecord.ts"
import { quote } from "./TableInfo.ts"

/** A data migration of a table that has not ended. */
export interface Filling {
  readonly id: string
  readonly table: string
  /** The columns that it reads, as it expects them. */
  readonly from: ReadonlyMap<string, RecordedColumn>
  readonly fills: ReadonlySet<string>
  readonly isConcurrent: boolean
}

/** The codec of the rows that a migration reads: the key, and the columns as they were. */
export const codecOf: (migration: AnyMigration) => RowCodec.RowCodec = memoize(({ from, id, table }) => {
  const fields: Record<string, Schema.Top> = { ...from, [table.key]: RowCodec.of(table).key.schema }
  class Old extends Model.Class<any>(`effect-dormouse/Migration/${id}`)(fields) {}
  const old: AnyTable = { ...table, model: Old }
  return RowCodec.of(old)
})

/** A migration, as the comparison of tables sees it. */
export const fillingOf = (migration: AnyMigration): Filling => ({
  id: migration.id,
  table: migration.table.name,
  from: new Map(
    codecOf(migration)
      .columns.filter(({ name }) => name in migration.from)
      .map((column) => [column.name, toRecorded(column)])
  ),
  fills: new Set(migration.fills),
  isConcurrent: migration.isConcurrent
})

/** The migration that fills a column next, if the app must wait for it. */
export const fillerOf = (fillings: ReadonlyArray<Filling>, column: string): Filling | undefined => {
  const filling = fillings.find(({ fills }) => fills.has(column))
  return filling?.isConcurrent === false ? filling : undefined
}

/** Whether a migration has yet to read a column. */
export const isRead = (fillings: ReadonlyArray<Filling>, column: string): boolean =>
  fillings.some(({ from }) => from.has(column))

/** The name under which a column waits while a migration fills another of its name. */
export const waiting = (column: string): string => `${column} (before)`

/** A table without what ended or abandoned migrations left. */
export interface Settled {
  readonly table: RecordedTable
  /** Migrations that begin again, because their columns are not as they left them. */
  readonly abandoned: ReadonlySet<string>
}

/**
 * Ends what migrations began: one that is done leaves the filled column, and the column that it was before is dropped. One
 * that the app does not have any more, or not over this column, leaves the column as it was before.
 */
export const settle = (
  old: RecordedTable,
  declared: Declared,
  pending: ReadonlyArray<Filling>,
  isDone: (migration: string) => boolean,
  statements: Array<Statement>
): Settled => {
  const abandoned = new Set<string>()
  const from = quote(old.name)
  const alter = (change: string, drops?: string) =>
    statements.push({ table: old.name, sql: `ALTER TABLE ${from} ${change}`, drops })
  const columns = old.columns.flatMap((column): ReadonlyArray<RecordedColumn> => {
    const { filledBy, ...rest } = column
    if (filledBy === undefined) return [column]
    const { before, migration } = filledBy
    if (isDone(migration)) {
      if (before !== undefined) alter(`DROP COLUMN ${quote(before.column)}`, before.column)
      return [rest]
    }
    const next = declared.columns.find(({ name }) => name === column.name)
    const isGoingOn = pending.some(({ fills, id }) => id === migration && fills.has(column.name))
    if (isGoingOn && next !== undefined && Equal.equals(next, rest)) return [column]
    abandoned.add(migration)
    alter(`DROP COLUMN ${quote(column.name)}`, column.name)
    if (before === undefined) return []
    alter(`RENAME COLUMN ${quote(before.column)} TO ${quote(column.name)}`)
    const { column: _, ...stored } = before
    return [{ name: column.name, ...stored }]
  })
  return { table: { ...old, columns }, abandoned }
}

/** Reports what migrations read that the database does not have, or not so. */
export const checkRead = (
  old: RecordedTable,
  declared: Declared,
  fillings: ReadonlyArray<Filling>,
  problems: Array<Problem>
): void => {
  const report = reporter(problems, old.name)
  const filled = new Set<string>()
  for (const { fills, from, id } of fillings) {
    for (const [name, expected] of from) {
      // What an earlier migration fills is what the table declares.
      if (filled.has(name)) continue
      // A column that the start adds can be read too.
      const column = [...old.columns, ...declared.columns].find((column) => column.name === name)
      const found = column?.filledBy?.migration === id ? (column.filledBy.before ?? column) : column
      if (found === undefined) {
        report(
          `migration ${id} reads it, and the database does not have it`,
          "correct the migration's from, or leave the migration out when all tenants have run it",
          name
        )
      } else if (found.kind !== expected.kind) {
        report(
          `migration ${id} reads it as ${expected.kind}, and it is ${found.kind}`,
          "correct the migration's from",
          name
        )
      }
    }
    for (const name of fills) filled.add(name)
  }
}
