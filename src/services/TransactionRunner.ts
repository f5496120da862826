/**
 * Runs effects as transactions: synchronously to their end, at one time, with randomness that its seed repeats.
 * The engine runs handlers with it, and `Transactor` is made of it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as SqlClient from "effect/sql/SqlClient"
import { Auth, CurrentIdentity } from "../contract/Auth.ts"
import { Storage, StorageWriter } from "../contract/Storage.ts"
import type * as Transactional from "../contract/Transactional.ts"
import * as RawSql from "./storage/RawSql.ts"
import { ReadRecorder, type ReadSet, readsOfNothing, WriteRecorder } from "./storage/ReadSet.ts"
import type { StorageRuntime } from "./storage/StorageRuntime.ts"
import { runSyncOrDie } from "./storage/Synchronous.ts"
import { TableReader } from "./storage/TableReader.ts"
import { TableWriter } from "./storage/TableWriter.ts"
import { TransactionStorage } from "./storage/TransactionStorage.ts"

/** How a reading transaction ended, and what it read. */
export interface ReadRun<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** Complete when the run was told to record. */
  readonly reads: ReadSet
}

export interface TransactionRunnerOptions {
  readonly storage: StorageRuntime
  /** Services that take part in transactions beside storage. */
  readonly transactional: ReadonlyArray<Transactional.Any>
  /** Runs what services asked to do after a commit, once the commit is durable. */
  readonly afterCommit: (effects: ReadonlyArray<Effect.Effect<void>>) => void
}

/** Every run of a query draws the same numbers, so that the same rows give the same result. */
const querySeed = 0

const rolledBack = Symbol("rolled back")

/** The transactions of one database. */
export class TransactionRunner {
  readonly storage: StorageRuntime
  private readonly options: TransactionRunnerOptions
  private readonly sql: SqlClient.SqlClient
  private readonly listeners = new Set<(writes: WriteRecorder) => void>()
  private lastTime = Number.NEGATIVE_INFINITY

  private constructor(options: TransactionRunnerOptions, sql: SqlClient.SqlClient) {
    this.storage = options.storage
    this.options = options
    this.sql = sql
  }

  static make(options: TransactionRunnerOptions): Effect.Effect<TransactionRunner> {
    return Effect.map(RawSql.make, (sql) => new TransactionRunner(options, sql))
  }

  /** Calls with what every commit wrote, before its transaction's exit is given out. Gives the function that ends it. */
  onCommit(listener: (writes: WriteRecorder) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Runs a reading effect. `record` says whether to find out what it reads. */
  read<A, E>(effect: Effect.Effect<A, E, any>, context: Context.Context<any>, record: boolean): ReadRun<A, E> {
    const reads = record ? new ReadRecorder() : undefined
    const storage = new TransactionStorage(this.storage, { readOnly: true, ...(reads && { reads }) })
    const clock = new TransactionClock(this.time(context), reads)
    const random = new SeededRandom(() => querySeed)
    const exit = runSyncOrDie(effect, this.open(context, storage, clock, random))
    storage.close()
    return { exit, reads: reads?.toReadSet() ?? readsOfNothing }
  }

  /** Runs a writing effect. However it fails, nothing that it wrote stays. */
  write<A, E>(effect: Effect.Effect<A, E, any>, context: Context.Context<any>): Exit.Exit<A, E> {
    const writes = new WriteRecorder()
    const storage = new TransactionStorage(this.storage, { writes })
    const clock = new TransactionClock(this.time(context), undefined)
    const random = new SeededRandom(() => Context.get(context, Random.Random).nextIntUnsafe())
    const services = Context.add(this.open(context, storage, clock, random), StorageWriter, new TableWriter(storage))
    let exit: Exit.Exit<A, E> | undefined
    try {
      this.storage.database.transaction(() => {
        exit = runSyncOrDie(effect, services)
        if (Exit.isFailure(exit)) throw rolledBack
        RawSql.checkForeignKeys(storage)
      })
    } catch (cause) {
      if (cause !== rolledBack) exit = Exit.die(cause)
    } finally {
      storage.close()
      this.storage.footprints.invalidateIfSchemaChanged()
    }
    // Either the effect ended, or `catch` said how it did not.
    const ended = exit!
    if (Exit.isSuccess(ended)) {
      for (const listener of this.listeners) listener(writes)
      if (storage.afterCommit.length > 0) this.options.afterCommit(storage.afterCommit)
    }
    return ended
  }

  /** The time of a transaction never goes back while the object lives, whatever the machine's clock does. */
  private time(context: Context.Context<any>): number {
    // Whole milliseconds: a clock may know fractions, and stored times do not.
    const now = Math.floor(Context.get(context, Clock.Clock).currentTimeMillisUnsafe())
    this.lastTime = Math.max(this.lastTime, now)
    return this.lastTime
  }

  /** The services of one transaction. */
  private open(
    context: Context.Context<any>,
    storage: TransactionStorage,
    clock: TransactionClock,
    random: SeededRandom
  ): Context.Context<any> {
    let services = context.pipe(
      Context.add(Storage, new TableReader(storage)),
      Context.add(RawSql.CurrentStorage, storage),
      Context.add(SqlClient.SqlClient, this.sql),
      Context.add(Auth, authOf(context, storage.reads)),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, random),
      Context.add(Scheduler.PreventSchedulerYield, true)
    )
    const { transactional } = this.options
    if (transactional.length > 0) {
      const tx = txOf(storage, clock, random)
      for (const service of transactional) services = Context.add(services, service.tag, service.open(tx))
    }
    return services
  }
}

/** The caller, as handlers see it. Asking is recorded, because the result then belongs to one caller. */
export const authOf = (
  context: Context.Context<any>,
  reads: { readonly identity: () => void } | undefined
): Auth["Service"] => ({
  identity: Effect.sync(() => {
    reads?.identity()
    return Context.get(context, CurrentIdentity)
  })
})

const txOf = (storage: TransactionStorage, clock: TransactionClock, random: Random.Random): Transactional.Tx => ({
  now: clock.millis,
  random,
  readOnly: storage.readOnly,
  query: (sql, params = []) => {
    storage.checkOpen()
    if (storage.readOnly) storage.footprint(sql, params.length)
    return storage.runtime.database.all(sql, params).rows
  },
  recordRead: (table) => storage.reads?.table(table),
  recordWrite: (table) => storage.writes?.table(table),
  afterCommit: (effect) => {
    storage.checkOpen()
    storage.afterCommit.push(effect)
  }
})

/** Time stands still in a transaction. Reading it is recorded: a result that depends on it is not shared for long. */
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

  /** Time does not pass in a transaction: a handler that sleeps suspends, and fails for that. */
  sleep(): Effect.Effect<void> {
    return Effect.never
  }
}

/**
 * A small generator (sfc32) whose whole state is its seed. Setting it up costs less than Effect's cryptographic one, and a
 * transaction draws few numbers, or none: it is seeded by the first draw. It is not for secrets.
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
    // 53 bits, as many as a number between 0 and 1 has.
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
    // The first numbers are still close to the seed.
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
