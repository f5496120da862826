import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import { anonymous, CurrentIdentity, type Identity } from "../../src/contract/Auth.ts"
import type { Policy } from "../../src/contract/Policy.ts"
import type { Storage, StorageWriter } from "../../src/contract/Storage.ts"
import type * as Table from "../../src/contract/Table.ts"
import * as Limits from "../../src/protocol/Limits.ts"
import type { Database, SqlValue } from "../../src/services/Database.ts"
import { type ReadSet, WriteRecorder, type WriteSet } from "../../src/services/storage/ReadSet.ts"
import { StorageRuntime } from "../../src/services/storage/StorageRuntime.ts"
import * as TableSchema from "../../src/services/storage/TableSchema.ts"
import { TransactionRunner } from "../../src/services/TransactionRunner.ts"

/** Runs a body with a new, empty database of one platform. */
export type WithDatabase = (body: (database: Database["Service"]) => void) => void | Promise<void>

export type Reads = Storage | SqlClient.SqlClient
export type Writes = Reads | StorageWriter

/** Runs queries and mutations over tables in a database, as the engine does. The test sets the time. */
export class StorageHarness {
  readonly database: Database["Service"]
  /** The time of the next transaction, in milliseconds. */
  now = 1_000_000
  /** The caller of the next transaction. */
  caller: Identity = anonymous
  /** Whether each query is run with and without the cache. */
  comparesRuns = true
  private readonly runner: TransactionRunner
  private writes = new WriteRecorder()

  constructor(
    database: Database["Service"],
    tables: ReadonlyArray<Table.Any>,
    limits: Partial<Limits.Limits> = {},
    migrate = true,
    policies: ReadonlyArray<Policy> = []
  ) {
    this.database = database
    if (migrate) TableSchema.migrate(database, tables)
    const storage = new StorageRuntime(database, tables, { ...Limits.defaults, ...limits }, policies)
    this.runner = new TransactionRunner({ storage, transactional: [], afterCommit: () => {} })
    this.runner.onCommit((writes) => {
      this.writes = writes
    })
  }

  /** Runs a mutation and returns its result. Throws its failure. */
  mutate<A, E>(effect: Effect.Effect<A, E, Writes>): A {
    return orThrow(this.mutation(effect).exit)
  }

  /** Runs a mutation and returns its exit and its writes. */
  mutation<A, E>(effect: Effect.Effect<A, E, Writes>): { readonly exit: Exit.Exit<A, E>; readonly writes: WriteSet } {
    this.writes = new WriteRecorder()
    const exit = this.runner.write(effect, this.context)
    return { exit, writes: this.writes.toWriteSet() }
  }

  /** Runs a query and returns its result. Throws its failure. */
  query<A, E>(effect: Effect.Effect<A, E, Reads>): A {
    return orThrow(this.run(effect).exit)
  }

  /**
   * Runs a query and returns its exit and its reads. It is run twice, with the rows that the cache has and without: both
   * runs must agree.
   */
  run<A, E>(effect: Effect.Effect<A, E, Reads>): { readonly exit: Exit.Exit<A, E>; readonly reads: ReadSet } {
    const cached = this.runOnce(effect)
    if (!this.comparesRuns) return cached
    this.runner.storage.clearRows("everything")
    const fresh = this.runOnce(effect)
    const [first, second] = [show(describe(cached)), show(describe(fresh))]
    if (first !== second) throw new Error(`the cache answers ${first}, and the database ${second}`)
    return fresh
  }

  /** Runs a statement past the storage, as nothing but a test does. */
  tamper(sql: string, params: ReadonlyArray<SqlValue> = []): void {
    this.database.all(sql, params)
    this.runner.storage.clearRows("everything")
  }

  /** Runs a query once, and returns its exit and its reads. */
  runOnce<A, E>(effect: Effect.Effect<A, E, Reads>): { readonly exit: Exit.Exit<A, E>; readonly reads: ReadSet } {
    return this.runner.read(effect, this.context, true)
  }

  /** The failure of a mutation. Throws if it succeeds or dies. */
  failure<A, E>(effect: Effect.Effect<A, E, Writes>): E {
    return failureOf(this.mutation(effect).exit)
  }

  /** The failure of a query. Throws if it succeeds or dies. */
  queryFailure<A, E>(effect: Effect.Effect<A, E, Reads>): E {
    return failureOf(this.run(effect).exit)
  }

  /** The reason of the `StorageError` with which a mutation fails. */
  reason<A, E>(effect: Effect.Effect<A, E, Writes>): Record<string, unknown> {
    return reasonOf(this.failure(effect))
  }

  /** The reason of the `StorageError` with which a query fails. */
  queryReason<A, E>(effect: Effect.Effect<A, E, Reads>): Record<string, unknown> {
    return reasonOf(this.queryFailure(effect))
  }

  private get context(): Context.Context<any> {
    const millis = () => this.now
    const nanos = () => BigInt(this.now) * 1_000_000n
    return Context.make(CurrentIdentity, this.caller).pipe(
      Context.add(Clock.Clock as Context.Key<any, Clock.Clock>, {
        currentTimeMillisUnsafe: millis,
        currentTimeMillis: Effect.sync(millis),
        currentTimeNanosUnsafe: nanos,
        currentTimeNanos: Effect.sync(nanos),
        monotonicTimeNanosUnsafe: nanos,
        monotonicTimeNanos: Effect.sync(nanos),
        sleep: () => Effect.never
      })
    )
  }
}

/** What two runs of a query must agree on. */
const describe = ({ exit, reads }: { readonly exit: Exit.Exit<unknown, unknown>; readonly reads: ReadSet }) => [
  Exit.isSuccess(exit) ? ["value", exit.value] : ["cause", String(exit.cause)],
  [...reads.tables],
  [...reads.ranges]
]

const orThrow = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

const failureOf = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) throw new Error(`expected a failure and got ${String(exit.value)}`)
  return Option.getOrElse(Cause.findErrorOption(exit.cause), () => {
    throw Cause.squash(exit.cause)
  })
}

const reasonOf = (error: unknown): Record<string, unknown> => {
  const { reason } = error as { readonly reason?: Record<string, unknown> }
  if (reason === undefined) throw error
  return reason
}

/** Formats a value for comparisons and messages. */
export const show = (value: unknown): string =>
  JSON.stringify(value, (_, part) => {
    if (typeof part === "bigint") return `${part}n`
    return part instanceof Uint8Array ? [...part] : part
  })
