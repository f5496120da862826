/**
 * Runs effects as transactions: synchronously to their end, with a clock that stands still and seeded random numbers.
 * The engine runs handlers with it; `Transactor` is its public form.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as SqlClient from "effect/sql/SqlClient"
import * as Tracer from "effect/Tracer"
import { Auth, CurrentIdentity } from "../contract/Auth.ts"
import { Storage, StorageError, StorageWriter } from "../contract/Storage.ts"
import type * as Transactional from "../contract/Transactional.ts"
import { Range } from "./storage/KeyOrder.ts"
import type { PolicyGuard } from "./storage/PolicyPort.ts"
import * as RawSql from "./storage/RawSql.ts"
import { ReadRecorder, type ReadSet, readsOfNothing, WriteRecorder } from "./storage/ReadSet.ts"
import type { StorageRuntime } from "./storage/StorageRuntime.ts"
import { runSyncOrDie, synchronous } from "./storage/Synchronous.ts"
import { keyIndex } from "./storage/TableInfo.ts"
import { TableReader } from "./storage/TableReader.ts"
import { TableWriter } from "./storage/TableWriter.ts"
import { SqlTransaction, TransactionStorage } from "./storage/TransactionStorage.ts"

/** The exit of a reading transaction, and what it read. */
export interface ReadRun<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** Empty unless reads were recorded. */
  readonly reads: ReadSet
}

/** What a transaction runner works with. */
export interface TransactionRunnerOptions {
  readonly storage: StorageRuntime
  /** The services besides storage that take part in transactions. */
  readonly transactional: ReadonlyArray<Transactional.Any>
  /** Runs the effects that services deferred until after the commit. */
  readonly afterCommit: (effects: ReadonlyArray<Effect.Effect<void>>) => void
}

/** All runs of a query draw the same random numbers, so that equal rows give equal results. */
const querySeed = 0

const rolledBack = Symbol("rolled back")

/** Runs the transactions of one database. */
export class TransactionRunner {
  readonly storage: StorageRuntime
  private readonly options: TransactionRunnerOptions
  private readonly sql: SqlClient.SqlClient
  private readonly recorders: ReadonlyArray<Transactional.ChangeRecorder>
  private readonly listeners = new Set<(writes: WriteRecorder) => void>()
  private lastTime = Number.NEGATIVE_INFINITY

  constructor(options: TransactionRunnerOptions) {
    this.storage = options.storage
    this.options = options
    this.sql = RawSql.sqlClient()
    this.recorders = options.transactional.flatMap(({ recorder }) => recorder ?? [])
  }

  /**
   * Adds a listener, called with the writes of each commit before `write` returns. Returns the function that removes
   * it.
   */
  onCommit(listener: (writes: WriteRecorder) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Runs an effect that reads. `record` says whether to record its reads. */
  read<A, E>(effect: Effect.Effect<A, E, any>, context: Context.Context<any>, record: boolean): ReadRun<A, E> {
    this.storage.checkForeignWrites()
    const reads = record ? new ReadRecorder() : undefined
    const storage = new TransactionStorage(this.storage, { readOnly: true, ...(reads && { reads }) })
    const clock = new TransactionClock(this.time(context), reads)
    const random = new SeededRandom(() => querySeed)
    const exit = runSyncOrDie(effect, this.open(context, storage, clock, random, this.guardOf(storage, context)))
    storage.close()
    return { exit, reads: reads?.toReadSet() ?? readsOfNothing }
  }

  /** Runs an effect that reads and writes. Its writes are rolled back unless it succeeds. */
  write<A, E>(effect: Effect.Effect<A, E, any>, context: Context.Context<any>): Exit.Exit<A, E> {
    const writes = new WriteRecorder()
    const { recorders } = this
    const storage = new TransactionStorage(this.storage, { writes, recorders })
    const clock = new TransactionClock(this.time(context), undefined)
    const random = new SeededRandom(() => Context.get(context, Random.Random).nextIntUnsafe())
    const guard = this.guardOf(storage, context)
    const opened = this.open(context, storage, clock, random, guard)
    const services = Context.add(opened, StorageWriter, new TableWriter(storage, guard))
    let exit: Exit.Exit<A, E> | undefined
    try {
      this.storage.database.transaction(() => {
        // From here on nobody else can write.
        this.storage.checkForeignWrites()
        exit = runSyncOrDie(effect, services)
        if (Exit.isFailure(exit)) throw rolledBack
        if (storage.rowChanges.length > 0) {
          try {
            recordChanges(recorders, txOf(context, storage, clock, random), storage.rowChanges)
          } catch (cause) {
            if (!(cause instanceof StorageError)) throw cause
            // A limit, which reaches the caller as one of the handler's own writes would.
            exit = Exit.failCause(Cause.fail(cause) as Cause.Cause<never>)
            throw rolledBack
          }
        }
        RawSql.checkForeignKeys(storage)
      })
    } catch (cause) {
      if (cause !== rolledBack) exit = Exit.die(cause)
      storage.rolledBack()
      exit = this.repeatOutliving(storage, exit!)
    } finally {
      storage.close()
      this.storage.footprints.invalidateIfSchemaChanged()
    }
    // Either the effect ended, or `catch` set the exit.
    const ended = exit!
    if (Exit.isSuccess(ended)) {
      for (const listener of this.listeners) listener(writes)
      if (storage.afterCommit.length > 0) this.options.afterCommit(storage.afterCommit)
    }
    return ended
  }

  /** Runs a function in a transaction, with its services. Returns nothing when it was rolled back. */
  writeNow<A>(body: (services: Context.Context<any>) => A, context: Context.Context<any>): A | undefined {
    const effect = Effect.contextWith((services: Context.Context<any>) => Effect.sync(() => body(services)))
    return Option.getOrUndefined(Exit.getSuccess(this.write(effect, context)))
  }

  /** After a rollback: repeats the writes that it must not undo, in a transaction of their own. */
  private repeatOutliving<A, E>(storage: TransactionStorage, exit: Exit.Exit<A, E>): Exit.Exit<A, E> {
    if (storage.outliving.length === 0) return exit
    try {
      this.storage.database.transaction(() => storage.repeatOutliving(0))
      return exit
    } catch (cause) {
      const died = Cause.die(cause)
      return Exit.failCause(Exit.isFailure(exit) ? Cause.combine(exit.cause, died) : died)
    }
  }

  /** The time of a transaction. It never goes back while the object is in memory, even if the machine's clock does. */
  time(context: Context.Context<any>): number {
    // Whole milliseconds, as stored times have no fractions.
    const now = Math.floor(Context.get(context, Clock.Clock).currentTimeMillisUnsafe())
    this.lastTime = Math.max(this.lastTime, now)
    return this.lastTime
  }

  /** The policies of the app for the caller of a transaction. */
  private guardOf(storage: TransactionStorage, context: Context.Context<any>): PolicyGuard | undefined {
    return this.storage.policies?.guard(storage, () => Context.get(context, CurrentIdentity))
  }

  /** The services of one transaction. */
  private open(
    context: Context.Context<any>,
    storage: TransactionStorage,
    clock: TransactionClock,
    random: SeededRandom,
    guard: PolicyGuard | undefined
  ): Context.Context<any> {
    const reader =
      guard === undefined ? new TableReader(storage) : new TableReader(storage, guard, unrestricted(storage))
    let services = synchronous(context).pipe(
      Context.add(Storage, reader),
      Context.add(RawSql.CurrentStorage, guard === undefined ? { storage } : { storage, guard }),
      Context.add(SqlTransaction, [RawSql.connection, 0]),
      Context.add(SqlClient.SqlClient, this.sql),
      Context.add(Auth, authOf(context, storage.reads)),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, random)
    )
    const { transactional } = this.options
    if (transactional.length > 0) {
      const tx = txOf(context, storage, clock, random)
      for (const service of transactional) services = Context.add(services, service.tag, service.open(tx))
    }
    return services
  }
}

/** Runs effects of a transaction without policies. */
const unrestricted =
  (storage: TransactionStorage) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.contextWith((context: Context.Context<R>) => {
      let services: Context.Context<any> = context.pipe(
        Context.add(Storage, new TableReader(storage)),
        Context.add(RawSql.CurrentStorage, { storage })
      )
      if (Option.isSome(Context.getOption(context, StorageWriter))) {
        services = Context.add(services, StorageWriter, new TableWriter(storage))
      }
      const transaction = Context.getOption(services, SqlTransaction)
      // A value of its own: Effect does not put requests of SQL from inside and from outside into one statement.
      if (Option.isSome(transaction)) services = Context.add(services, SqlTransaction, [...transaction.value])
      return Effect.provideContext(effect, services)
    })

/** The caller's identity, for handlers. Reading it is recorded, because the result then depends on the caller. */
export const authOf = (
  context: Context.Context<any>,
  reads: { readonly identity: () => void } | undefined
): Auth["Service"] => ({
  identity: Effect.sync(() => {
    reads?.identity()
    return Context.get(context, CurrentIdentity)
  })
})

/** Gives each recorder the changes of its tables. */
const recordChanges = (
  recorders: ReadonlyArray<Transactional.ChangeRecorder>,
  tx: Transactional.Tx,
  changes: ReadonlyArray<Transactional.RowChange>
): void => {
  for (const { record, tables } of recorders) {
    const own = recorders.length === 1 ? changes : changes.filter(({ table }) => tables.has(table))
    if (own.length > 0) record(tx, own)
  }
}

const txOf = (
  context: Context.Context<any>,
  storage: TransactionStorage,
  clock: TransactionClock,
  random: Random.Random
): Transactional.Tx => ({
  now: clock.millis,
  random,
  readOnly: storage.readOnly,
  span: () => Context.getOrUndefined(context, Tracer.ParentSpan),
  query: (sql, params = []) => {
    storage.checkOpen()
    if (storage.readOnly) storage.footprint(sql, params.length)
    return storage.runtime.database.all(sql, params).rows
  },
  recordRead: (table, key) =>
    key === undefined ? storage.reads?.table(table) : storage.reads?.range(table, keyIndex, Range.point([key])),
  recordWrite: (table, key) =>
    key === undefined ? storage.writes?.table(table) : storage.writes?.key(table, keyIndex, [key]),
  afterCommit: (effect) => {
    storage.checkOpen()
    storage.afterCommit.push(effect)
  },
  outlive: (writes) => {
    storage.checkOpen()
    if (storage.readOnly) throw new Error("a query cannot write: make it a mutation")
    writes()
    storage.outliving.push(writes)
  }
})

/** A clock that stands still. Reading it is recorded, because the result then depends on the time. */
class TransactionClock implements Clock.Clock {
  readonly millis: number
  private readonly reads: ReadRecorder | undefined

  constructor(millis: number, reads: ReadRecorder | undefined) {
    this.millis = millis
    this.reads = reads
  }

  currentTimeMillisUnsafe(): number {
    this.reads?.clock()
    return this.millis
  }

  currentTimeNanosUnsafe(): bigint {
    this.reads?.clock()
    return BigInt(this.millis) * 1_000_000n
  }

  monotonicTimeNanosUnsafe(): bigint {
    return this.currentTimeNanosUnsafe()
  }

  get currentTimeMillis(): Effect.Effect<number> {
    return Effect.sync(() => this.currentTimeMillisUnsafe())
  }

  get currentTimeNanos(): Effect.Effect<bigint> {
    return Effect.sync(() => this.currentTimeNanosUnsafe())
  }

  get monotonicTimeNanos(): Effect.Effect<bigint> {
    return Effect.sync(() => this.currentTimeNanosUnsafe())
  }

  /** Never resumes: a handler that sleeps suspends, which fails its transaction. */
  sleep(): Effect.Effect<void> {
    return Effect.never
  }
}

/**
 * A small generator of random numbers (sfc32), seeded by the first draw, because many transactions draw none. Its setup
 * costs less than that of Effect's cryptographic generator. Not for secrets.
 */
class SeededRandom implements Random.Random {
  private readonly seed: () => number
  private isSeeded = false
  private a = 0
  private b = 0
  private c = 0x9e3779b9 | 0
  private counter = 1

  constructor(seed: () => number) {
    this.seed = seed
  }

  nextDoubleUnsafe(): number {
    if (!this.isSeeded) this.setUp()
    // 53 bits: the precision of a number between 0 and 1.
    return (this.next() * 2 ** 21 + (this.next() >>> 11)) / 2 ** 53
  }

  nextIntUnsafe(): number {
    return (
      Math.floor(this.nextDoubleUnsafe() * (Number.MAX_SAFE_INTEGER - Number.MIN_SAFE_INTEGER + 1)) +
      Number.MIN_SAFE_INTEGER
    )
  }

  private setUp(): void {
    this.isSeeded = true
    const seed = this.seed()
    this.a = seed | 0
    this.b = Math.floor(seed / 2 ** 32) | 0
    // The first outputs still correlate with the seed.
    for (let i = 0; i < 12; i++) this.next()
  }

  private next(): number {
    const sum = (((this.a + this.b) | 0) + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0
    return sum >>> 0
  }
}
