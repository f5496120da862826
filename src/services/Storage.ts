/**
 * Storage as a layer: an app's tables over a `Database`, migrated when the layer is built.
 * It provides the `Transactor`, whose effects can use tables, SQL and the transactional services.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AnyMigration } from "../contract/Migration.ts"
import type { Policy } from "../contract/Policy.ts"
import type * as Table from "../contract/Table.ts"
import type * as Transactional from "../contract/Transactional.ts"
import * as Limits from "../protocol/Limits.ts"
import { Database } from "./Database.ts"
import { MigrationRunner, runAll } from "./MigrationRunner.ts"
import { StorageRuntime } from "./storage/StorageRuntime.ts"
import * as TableSchema from "./storage/TableSchema.ts"
import * as UnwrittenDatabase from "./storage/UnwrittenDatabase.ts"
import { TransactionRunner, type TransactionRunnerOptions } from "./TransactionRunner.ts"
import * as Transactor from "./Transactor.ts"

export * from "../contract/Storage.ts"
export { SchemaMismatch } from "./storage/TableSchema.ts"

/** The tables of an app, and how to run their transactions. */
export interface StorageOptions<T extends ReadonlyArray<Transactional.Any> = ReadonlyArray<Transactional.Any>> {
  readonly tables: ReadonlyArray<Table.Any>
  /** Migrations of rows, from `Migration.make`, in the order in which they run. They end before the layer is built. */
  readonly migrations?: ReadonlyArray<AnyMigration>
  /** Tables that are not declared any more, and whose rows may be lost. */
  readonly droppedTables?: ReadonlyArray<string>
  /** Who may read and write which rows, from `Policy.make`. A table without policies is open to everybody. */
  readonly policies?: ReadonlyArray<Policy>
  /** Limits that differ from `Limits.defaults`. */
  readonly limits?: Partial<Limits.Limits>
  /** Services that take part in transactions. */
  readonly transactional?: T
}

/** What a runner of transactions is made with. */
export interface RunnerOptions extends StorageOptions, Pick<TransactionRunnerOptions, "afterCommit"> {
  /** Further internal tables, of the caller. */
  readonly internalTables?: ReadonlyArray<Transactional.InternalTable>
  readonly createOnWrite?: boolean
}

/** Migrates the database's tables and rows, and makes the runner of its transactions. */
export const makeRunner = (
  options: RunnerOptions
): Effect.Effect<TransactionRunner, TableSchema.SchemaMismatch, Database> =>
  Effect.gen(function* () {
    const { migrations, runner } = yield* open(options)
    yield* runAll(migrations)
    return runner
  })

/** A database whose tables are those of the app, and whose rows may still have to be migrated. */
export interface Opened {
  readonly runner: TransactionRunner
  readonly migrations: MigrationRunner
  /** The services of the process or object. */
  readonly services: Context.Context<any>
}

/**
 * Migrates the database's tables and makes the runner of its transactions. With `createOnWrite` an empty database stays
 * empty until the first write; the runner's database must then be used for everything.
 */
export const open = (options: RunnerOptions): Effect.Effect<Opened, TableSchema.SchemaMismatch, Database> =>
  Effect.gen(function* () {
    const host = yield* Database
    const services: Context.Context<any> = yield* Effect.context<any>()
    const {
      afterCommit,
      createOnWrite = false,
      droppedTables = [],
      internalTables = [],
      limits,
      migrations = [],
      policies,
      tables,
      transactional = []
    } = options
    const internal = [...internalTables, ...transactional.flatMap(({ tables }) => tables)]
    const migrate = () => TableSchema.migrate(host, tables, internal, { migrations, droppedTables })
    const database = yield* Effect.try({
      try: () => {
        if (createOnWrite && UnwrittenDatabase.isEmpty(host)) {
          TableSchema.check(tables)
          return UnwrittenDatabase.make(host, migrate)
        }
        migrate()
        return host
      },
      catch: (cause) => {
        if (cause instanceof TableSchema.SchemaMismatch) return cause
        throw cause
      }
    })
    const storage = new StorageRuntime(database, tables, { ...Limits.defaults, ...limits }, policies)
    const runner = new TransactionRunner({ storage, transactional, afterCommit })
    return { runner, migrations: new MigrationRunner({ runner, migrations, migrate, services }), services }
  })

/**
 * A layer of the tables over a database. Fails when the database cannot be migrated to what the tables declare. It also
 * provides the services of `transactional`, which work inside the transactions of `Transactor`; any other use is a defect.
 */
export const layer = <const T extends ReadonlyArray<Transactional.Any> = readonly []>(
  options: StorageOptions<T>
): Layer.Layer<Transactor.Transactor | Transactional.Identifier<T[number]>, TableSchema.SchemaMismatch, Database> => {
  const services: Context.Context<Transactional.Identifier<T[number]>> = Context.makeUnsafe(
    new Map((options.transactional ?? []).map(({ tag }) => [tag.key, outsideOf(tag.key)]))
  )
  return Layer.merge(transactorLayer(options), Layer.succeedContext(services))
}

/** A service that no transaction opened. */
const outsideOf = (key: string): object =>
  new Proxy(
    {},
    {
      get: (_, property) => {
        throw new Error(`${key}.${String(property)} was used outside of a transaction`)
      }
    }
  )

const transactorLayer = (
  options: StorageOptions
): Layer.Layer<Transactor.Transactor, TableSchema.SchemaMismatch, Database> =>
  Layer.effect(
    Transactor.Transactor,
    Effect.gen(function* () {
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const runner = yield* makeRunner({
        ...options,
        afterCommit: (effects) => {
          for (const effect of effects) fork(Effect.ignoreCause(effect, { log: "Error" }))
        }
      })
      return Transactor.make(runner)
    })
  )
