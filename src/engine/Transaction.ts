import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as SqlClient from "effect/sql/SqlClient"
import { Auth, anonymous, type Identity } from "../contract/Auth.ts"
import { Storage, StorageWriter } from "../contract/Storage.ts"
import { ReadRecorder, type ReadSet, WriteRecorder } from "../services/ReadSet.ts"
import * as Sql from "../services/Sql.ts"
import { Session, type TableStorage } from "../services/Storage.ts"
import { runToEnd } from "../services/Synchronous.ts"

export interface Run<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly reads: ReadSet
}

export interface Commit<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** What was committed; empty when the exit is a failure. */
  readonly writes: WriteRecorder
}

/** Who the message that is being answered came from. The host provides it with each message. */
export const Caller = Context.Reference<Identity>("effect-dormouse/engine/Caller", { defaultValue: () => anonymous })

/** Every run of a query draws the same numbers, so that the same rows give the same result. */
const querySeed = 0

const rolledBack = Symbol("rolled back")

/**
 * Runs handlers as transactions. A run is synchronous to its end, so nothing interleaves with it; it sees one time and
 * a randomness that its seed repeats.
 */
export class Transactions {
  private readonly storage: TableStorage
  private readonly sql: SqlClient.SqlClient
  private lastTime = Number.NEGATIVE_INFINITY

  private constructor(storage: TableStorage, sql: SqlClient.SqlClient) {
    this.storage = storage
    this.sql = sql
  }

  static make(storage: TableStorage): Effect.Effect<Transactions> {
    return Effect.map(Sql.make, (sql) => new Transactions(storage, sql))
  }

  /** Runs a reading effect, and tells what it read. The same rows give the same result: its seed is always the same. */
  query<A, E, R>(effect: Effect.Effect<A, E, R>, context: Context.Context<any>): Run<A, E> {
    const reads = new ReadRecorder()
    const session = new Session(this.storage, { readOnly: true, reads })
    const clock = frozenClock(this.time(context), () => reads.clock())
    const auth = authOf(context, () => reads.identity())
    const exit = runToEnd(effect, Context.add(this.context(context, session, clock, querySeed), Auth, auth))
    session.close()
    return { exit, reads: reads.toReadSet() }
  }

  /** Runs a writing effect. Whatever way it fails, nothing of it stays. */
  mutation<A, E, R>(effect: Effect.Effect<A, E, R>, context: Context.Context<any>): Commit<A, E> {
    const writes = new WriteRecorder()
    const session = new Session(this.storage, { writes })
    const clock = frozenClock(this.time(context))
    const seed = Context.get(context, Random.Random).nextIntUnsafe()
    const transaction = this.context(context, session, clock, seed).pipe(
      Context.add(StorageWriter, session),
      Context.add(Auth, authOf(context))
    )
    let exit: Exit.Exit<A, E> | undefined
    try {
      this.storage.database.transaction(() => {
        exit = runToEnd(effect, transaction)
        if (Exit.isFailure(exit)) throw rolledBack
        Sql.checkForeignKeys(session, this.storage.database)
      })
    } catch (cause) {
      if (cause !== rolledBack) exit = Exit.die(cause)
    } finally {
      session.close()
      this.storage.footprints.settle()
    }
    return { exit: exit!, writes: Exit.isSuccess(exit!) ? writes : new WriteRecorder() }
  }

  /** The time of a transaction never goes back while the object lives, whatever the machine's clock does. */
  private time(context: Context.Context<any>): number {
    // Whole milliseconds: a clock may know fractions, and stored times do not.
    const now = Math.floor(Context.get(context, Clock.Clock).currentTimeMillisUnsafe())
    this.lastTime = Math.max(this.lastTime, now)
    return this.lastTime
  }

  private context(
    context: Context.Context<any>,
    session: Session,
    clock: Clock.Clock,
    seed: number
  ): Context.Context<any> {
    return context.pipe(
      Context.add(Storage, session),
      Context.add(Sql.CurrentSession, session),
      Context.add(SqlClient.SqlClient, this.sql),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, seededRandom(seed)),
      Context.add(Scheduler.PreventSchedulerYield, true)
    )
  }
}

const authOf = (context: Context.Context<any>, onLook: () => void = () => {}): Auth["Service"] => ({
  identity: Effect.sync(() => {
    onLook()
    return Context.get(context, Caller)
  })
})

const frozenClock = (millis: number, onLook: () => void = () => {}): Clock.Clock => {
  const nanos = BigInt(millis) * 1_000_000n
  const currentTimeMillisUnsafe = () => {
    onLook()
    return millis
  }
  const currentTimeNanosUnsafe = () => {
    onLook()
    return nanos
  }
  return {
    currentTimeMillisUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
    currentTimeNanosUnsafe,
    currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
    monotonicTimeNanosUnsafe: currentTimeNanosUnsafe,
    monotonicTimeNanos: Effect.sync(currentTimeNanosUnsafe),
    // Time does not pass in a transaction: a handler that sleeps suspends, and is told so.
    sleep: () => Effect.never
  }
}

/**
 * A small generator (sfc32) whose whole state is its seed: it costs nothing to set up, which the cryptographic one of
 * Effect does, and a transaction draws a few numbers. It is not for secrets.
 */
const seededRandom = (seed: number): Random.Random => {
  let a = seed | 0
  let b = Math.floor(seed / 2 ** 32) | 0
  let c = 0x9e3779b9 | 0
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  // The first numbers are still close to the seed.
  for (let i = 0; i < 12; i++) next()
  // 53 bits, as many as a number between 0 and 1 has.
  const nextDouble = () => (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53
  return {
    nextDoubleUnsafe: nextDouble,
    nextIntUnsafe: () =>
      Math.floor(nextDouble() * (Number.MAX_SAFE_INTEGER - Number.MIN_SAFE_INTEGER + 1)) + Number.MIN_SAFE_INTEGER
  }
}
