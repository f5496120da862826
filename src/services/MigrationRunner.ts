/**
 * Runs the migrations of rows of one database, a step at a time. A step is one transaction: the rows that it visits, what the
 * author's effects write, and the key at which the next step begins. The last step of a migration also makes the changes of
 * the schema that had to wait for it.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { CurrentIdentity, system } from "../contract/Auth.ts"
import type { AnyMigration } from "../contract/Migration.ts"
import { StorageWriter, unrestricted } from "../contract/Storage.ts"
import * as MigrationStates from "./storage/MigrationStates.ts"
import * as RowCodec from "./storage/RowCodec.ts"
import { codecOf } from "./storage/SchemaFilling.ts"
import { SchemaMismatch } from "./storage/SchemaRecord.ts"
import { quote } from "./storage/TableInfo.ts"
import * as TableSchema from "./storage/TableSchema.ts"
import type { TransactionRunner } from "./TransactionRunner.ts"

/** How far the migrations of rows are in one database. */
export interface MigrationProgress {
  /** `done` if there is nothing left to run. `failed` until the next start, which tries again. */
  readonly state: "done" | "running" | "failed"
  /** Whether calls are refused until the migrations have ended. */
  readonly isBlocking: boolean
  /** What runs, or why it failed: `2026-11-split-name (1 of 2), 1200 of 5000 rows`. Empty when all are done. */
  readonly detail: string
}

const done: MigrationProgress = { state: "done", isBlocking: false, detail: "" }

/** What the runner works with. */
export interface MigrationRunnerOptions {
  readonly runner: TransactionRunner
  readonly migrations: ReadonlyArray<AnyMigration>
  /** Makes the changes of the schema for which nothing is left to wait. Throws `SchemaMismatch`. */
  readonly migrate: () => void
  /** The services of the process or object: the clock, the source of random numbers, loggers. */
  readonly services: Context.Context<any>
}

/** A row to visit: its key in the database, and its columns as they were. */
type Visited = RowCodec.SqlRow

/** Runs the migrations of one database. */
export class MigrationRunner {
  private readonly options: MigrationRunnerOptions
  private readonly pending: Array<AnyMigration>
  private readonly services: Context.Context<any>
  private failure: string | undefined

  constructor(options: MigrationRunnerOptions) {
    this.options = options
    this.services = Context.add(options.services, CurrentIdentity, system)
    const { migrations, runner } = options
    const { database } = runner.storage
    // The first write of an empty database has nothing to migrate.
    const isIdle = migrations.length === 0 || database.isUnwritten?.() === true
    const states = isIdle ? undefined : MigrationStates.read(database)
    this.pending = migrations.filter(({ id }) => states !== undefined && states.get(id)?.state !== "done")
  }

  /** How far the migrations are. */
  get progress(): MigrationProgress {
    const [migration] = this.pending
    if (migration === undefined) return done
    const { migrations } = this.options
    const isBlocking = this.pending.some(({ isConcurrent }) => !isConcurrent)
    const { rows, total } = this.stateOf(migration)
    const what = `${migration.id} (${migrations.indexOf(migration) + 1} of ${migrations.length})`
    return this.failure === undefined
      ? { state: "running", isBlocking, detail: `${what}, ${rows} of ${Math.max(rows, total)} rows` }
      : { state: "failed", isBlocking, detail: `${what}: ${this.failure}` }
  }

  /** Whether there is a step to run. */
  get isRunning(): boolean {
    return this.pending.length > 0 && this.failure === undefined
  }

  /**
   * Runs one step. Returns the rows that it visited. A step that fails is rolled back, and the migrations stop: `progress`
   * says why.
   */
  step(): number {
    const [migration] = this.pending
    if (migration === undefined || this.failure !== undefined) return 0
    const { runner } = this.options
    const { database } = runner.storage
    const state = this.stateOf(migration)
    let at: unknown
    let visited = 0
    const body = Effect.gen({ self: this }, function* () {
      const rows = this.rowsAfter(migration, state.position)
      for (const row of rows) {
        at = keyOf(migration, row)
        yield* this.visit(migration, row)
      }
      visited = rows.length
      const position = visited === 0 ? state.position : keyOf(migration, rows.at(-1)!)
      const isLast = visited < migration.rowsPerStep
      at = undefined
      MigrationStates.write(database, migration.id, {
        state: isLast ? "done" : "running",
        position,
        rows: state.rows + visited,
        total: state.total,
        failure: null
      })
      if (isLast) this.options.migrate()
      return isLast
    })
    const exit = runner.write(unrestricted(body), this.services)
    // Rows were written past the cache, or are of another shape now.
    runner.storage.clearRows("everything")
    if (Exit.isFailure(exit)) this.fail(migration, state, at, exit.cause)
    else if (exit.value) this.pending.shift()
    return visited
  }

  private stateOf({ id, table }: AnyMigration): MigrationStates.MigrationState {
    const { database } = this.options.runner.storage
    const known = MigrationStates.read(database).get(id)
    if (known !== undefined) return known
    const total = Number(database.all(`SELECT count(*) FROM ${quote(table.name)}`, []).rows[0]?.[0])
    return { state: "running", position: null, rows: 0, total, failure: null }
  }

  /** The next rows of a migration. */
  private rowsAfter(migration: AnyMigration, position: MigrationStates.MigrationState["position"]) {
    const { id, rowsPerStep, table } = migration
    const { database } = this.options.runner.storage
    const columns = TableSchema.recorded(database).find(({ name }) => name === table.name)?.columns ?? []
    const names = codecOf(migration).columns.map(({ name }) => {
      const filledBy = columns.find((column) => column.name === name)?.filledBy
      return quote((filledBy?.migration === id ? filledBy.before?.column : undefined) ?? name)
    })
    const key = quote(table.key)
    const after = position === null ? "" : ` WHERE ${key} > ?`
    return database.all(
      `SELECT ${names.join(", ")} FROM ${quote(table.name)}${after} ORDER BY ${key} LIMIT ${rowsPerStep}`,
      position === null ? [] : [position]
    ).rows
  }

  /** Runs the author's effect for a row, and writes what it returns. */
  private visit(migration: AnyMigration, row: Visited) {
    const { fills, isConcurrent, table } = migration
    const { database } = this.options.runner.storage
    return Effect.gen(function* () {
      const before = orThrow(codecOf(migration).decode(row))
      const key = before[table.key]
      const filled = yield* migration.row(before, key)
      if (fills.length === 0) return
      const values = isFields(filled) ? filled : {}
      const given = Object.fromEntries(fills.map((field) => [field, values[field]]))
      if (isConcurrent) {
        // As a mutation does: live queries and change feeds see it.
        yield* StorageWriter.use((writer) => writer.patch(table, key, given))
        return
      }
      const { columnIndex, columns, encodeField } = RowCodec.of(table)
      const encoded = fills.map((field) => orThrow(encodeField(columns[columnIndex.get(field)!]!, given[field])))
      const sets = fills.map((field) => `${quote(field)} = ?`).join(", ")
      database.run(`UPDATE ${quote(table.name)} SET ${sets} WHERE ${quote(table.key)} = ?`, [
        ...encoded,
        keyOf(migration, row)
      ])
    })
  }

  /** Records why a step failed. */
  private fail(
    migration: AnyMigration,
    state: MigrationStates.MigrationState,
    at: unknown,
    cause: Cause.Cause<unknown>
  ): void {
    const failure = `${at === undefined ? "" : `row ${JSON.stringify(at)}: `}${messageOf(cause)}`
    this.failure = failure
    const { database } = this.options.runner.storage
    MigrationStates.write(database, migration.id, { ...state, failure })
    const message = `migration ${migration.id} of table ${migration.table.name} failed`
    Effect.runSyncWith(this.services)(Effect.logError(message, cause))
  }

  /** The failure as a start is refused with it. */
  get mismatch(): SchemaMismatch | undefined {
    const [migration] = this.pending
    if (migration === undefined || this.failure === undefined) return undefined
    const problem = `migration ${migration.id} failed: ${this.failure}`
    const remedy = "correct the migration, or the row; the next start goes on with it"
    return new SchemaMismatch({ problems: [{ table: migration.table.name, problem, remedy }] })
  }
}

/** Runs all steps, one after the other. Fails when a migration fails. */
export const runAll = (migrations: MigrationRunner): Effect.Effect<void, SchemaMismatch> =>
  Effect.gen(function* () {
    while (migrations.isRunning) {
      migrations.step()
      // Other fibers of the process go on in between.
      yield* Effect.yieldNow
    }
    const { mismatch } = migrations
    if (mismatch !== undefined) return yield* Effect.fail(mismatch)
  })

/** The key of a row that a migration reads, as it is stored. */
const keyOf = (migration: AnyMigration, row: Visited) => row[codecOf(migration).columnIndex.get(migration.table.key)!]!

const isFields = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const orThrow = <A>(result: Result.Result<A, string>): A => Result.getOrThrowWith(result, (issue) => new Error(issue))

/** The first line of what went wrong. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
