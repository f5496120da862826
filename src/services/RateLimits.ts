/**
 * Effect's `RateLimiter` over a database: in the transactions of an app, and alone.
 * A20: a charge that a mutation makes survives the rollback of that mutation, and is applied once when it commits.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import type { InternalTable, SqlValue, Transactional, Tx } from "../contract/Transactional.ts"
import { CallError, TooManyRequests } from "../protocol/CallError.ts"
import { Database } from "./Database.ts"
import type { Decision } from "./rateLimits/FixedWindow.ts"
import * as State from "./rateLimits/RateLimitState.ts"
import * as StandaloneTable from "./stores/StandaloneTable.ts"

export { RateLimiter, RateLimiterError, RateLimiterStore } from "effect/persistence/RateLimiter"

/** What `charge` takes. */
export interface ChargeOptions {
  /** Whom or what to count. Charges with equal keys count together, if limit and window are the same. */
  readonly key: string
  readonly limit: number
  readonly window: Duration.Input
  /** `fixed-window` unless given. */
  readonly algorithm?: "fixed-window" | "token-bucket"
  /** 1 unless given. */
  readonly tokens?: number
}

/**
 * Charges a limit in a handler. Beyond the limit it fails with `TooManyRequests`, which reaches the client typed without
 * being declared. For anything else, such as waiting instead of failing, use Effect's `RateLimiter`.
 */
export const charge = (
  options: ChargeOptions
): Effect.Effect<RateLimiter.ConsumeResult, CallError, RateLimiter.RateLimiter> =>
  Effect.flatMap(RateLimiter.RateLimiter, ({ consume }) =>
    Effect.catch(consume({ ...options, onExceeded: "fail" }), (error) => {
      if (error.reason._tag !== "RateLimitExceeded") return Effect.die(error)
      const retryAfter = Math.max(1, Math.ceil(Duration.toMillis(error.reason.retryAfter)))
      return Effect.fail(new CallError({ reason: new TooManyRequests({ retryAfter }) }))
    })
  )

const rowTable = "_dormouse_rate_limits"

/** The states of all keys. `sweep`: after which minute a state is as good as none. */
const table: InternalTable = {
  name: rowTable,
  create:
    `CREATE TABLE ${rowTable} (key TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, sweep INTEGER NOT NULL, ` +
    `PRIMARY KEY (key, kind)) WITHOUT ROWID; CREATE INDEX ${rowTable}_by_sweep ON ${rowTable} (sweep)`
}

/** Rows that a charge deletes at most when it adds one: more than one, so that expired rows run out. */
const sweepRows = 8

/** A state is swept in the minute after it has expired: its index is written once in a minute, and not by each charge. */
const sweepMillis = 60_000

/** Where the states are. */
interface Rows {
  readonly query: (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>
  /** Runs writes that depend on nothing but their values. */
  readonly write: (writes: () => void) => void
}

/** One of the algorithms: how its states are stored. */
interface Kind<State extends { readonly expires: number }> {
  readonly name: string
  readonly decode: (text: unknown) => State
}

const kind = <State extends { readonly expires: number }>(name: string, schema: Schema.Codec<State>): Kind<State> => ({
  name,
  decode: Schema.decodeUnknownSync(Schema.fromJsonString(schema))
})

const fixedWindow = kind("window", State.FixedWindow)
const tokenBucket = kind("bucket", State.TokenBucket)
const adaptive = kind("adaptive", State.Adaptive)

/** Reads the state of a key, decides, and writes the next state. */
const step = <S extends { readonly expires: number }, Answer>(
  { query, write }: Rows,
  { decode, name }: Kind<S>,
  key: string,
  now: number,
  decide: (state: S | undefined, now: number) => Decision<S, Answer>
): Answer => {
  const [row] = query(`SELECT state, sweep FROM ${rowTable} WHERE key = ? AND kind = ?`, [key, name])
  const before = row && decode(row[0])
  const { answer, state } = decide(before, now)
  if (state === undefined || state === before) return answer
  const text = JSON.stringify(state)
  const sweep = Math.ceil(state.expires / sweepMillis) * sweepMillis
  write(() => {
    if (sweep === row?.[1]) {
      query(`UPDATE ${rowTable} SET state = ? WHERE key = ? AND kind = ?`, [text, key, name])
      return
    }
    query(`INSERT OR REPLACE INTO ${rowTable} (key, kind, state, sweep) VALUES (?, ?, ?, ?)`, [key, name, text, sweep])
    query(
      `DELETE FROM ${rowTable} WHERE (key, kind) IN ` +
        `(SELECT key, kind FROM ${rowTable} WHERE sweep < ? ORDER BY sweep LIMIT ?)`,
      [now, sweepRows]
    )
  })
  return answer
}

/** Runs an operation on the rows, now. */
type Run = <A>(body: (rows: Rows, now: number) => A) => Effect.Effect<A>

const storeOver = (run: Run): RateLimiter.RateLimiterStore["Service"] => {
  const operation =
    <S extends { readonly expires: number }, Options extends { readonly key: string }, Answer>(
      kind: Kind<S>,
      decide: (state: S | undefined, now: number, options: Options) => Decision<S, Answer>
    ) =>
    (options: Options): Effect.Effect<Answer, RateLimiter.RateLimiterError> =>
      Effect.catchDefect(
        run((rows, now) => step(rows, kind, options.key, now, (state, now) => decide(state, now, options))),
        // The cause stays here: an rpc may declare the error, and then its caller sees it.
        (cause) => Effect.andThen(Effect.logError(notStored, cause), Effect.fail(storeError))
      )
  return {
    fixedWindow: operation(fixedWindow, State.fixedWindow),
    tokenBucket: operation(tokenBucket, State.tokenBucket),
    adaptiveConsume: operation(adaptive, State.adaptiveConsume),
    adaptiveFeedback: operation(adaptive, State.adaptiveFeedback)
  }
}

const notStored = "the state of a rate limit could not be read or written"
const storeError = new RateLimiter.RateLimiterError({
  reason: new RateLimiter.RateLimitStoreError({ message: notStored })
})

/** Effect's limiter over a store. */
const limiterOver = (store: RateLimiter.RateLimiterStore["Service"]): RateLimiter.RateLimiter =>
  Effect.runSync(Effect.provideService(RateLimiter.make, RateLimiter.RateLimiterStore, store))

/** The limiter of one mutation. Its charges outlive a rollback. */
const ofMutation = (tx: Tx): RateLimiter.RateLimiter => {
  const rows: Rows = { query: tx.query, write: tx.outlive }
  return limiterOver(storeOver((body) => Effect.sync(() => body(rows, tx.now))))
}

const refused = Effect.die(new Error("a query cannot charge a rate limit: make it a mutation"))

/** The limiter of a query: it refuses. */
const inQuery: RateLimiter.RateLimiter = {
  [RateLimiter.TypeId]: RateLimiter.TypeId,
  consume: () => refused,
  adaptiveConsume: () => refused,
  adaptiveFeedback: () => refused
}

/**
 * Effect's `RateLimiter` in the mutations of an app: `App.make({ transactional: [RateLimits.transactional] })`. A charge is
 * outside of the mutation that makes it: it stays when the mutation is rolled back. In a query it is a defect.
 */
export const transactional: Transactional<RateLimiter.RateLimiter, RateLimiter.RateLimiter> = {
  tag: RateLimiter.RateLimiter,
  tables: [table],
  open: (tx) => {
    if (tx.readOnly) return inQuery
    // Most transactions charge nothing.
    let made: RateLimiter.RateLimiter | undefined
    const limiter = () => (made ??= ofMutation(tx))
    return {
      [RateLimiter.TypeId]: RateLimiter.TypeId,
      consume: (options) => limiter().consume(options),
      adaptiveConsume: (options) => limiter().adaptiveConsume(options),
      adaptiveFeedback: (options) => limiter().adaptiveFeedback(options)
    }
  }
}

/** Effect's store over a `Database`, without an app. Each charge is a transaction of its own. */
export const layerStore: Layer.Layer<RateLimiter.RateLimiterStore, never, Database> = Layer.effect(
  RateLimiter.RateLimiterStore,
  Effect.gen(function* () {
    const database = yield* Database
    StandaloneTable.create(database, table)
    const rows: Rows = { query: (sql, params) => database.all(sql, params).rows, write: (writes) => writes() }
    return storeOver((body) =>
      Effect.map(Clock.currentTimeMillis, (now) => database.transaction(() => body(rows, now)))
    )
  })
)

/** Effect's `RateLimiter` over a `Database`, without an app. */
export const layer: Layer.Layer<RateLimiter.RateLimiter, never, Database> = Layer.provide(RateLimiter.layer, layerStore)
