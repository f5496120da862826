/**
 * Locks by name: a lease with a fencing token, in the mutations of an app and over a `Database` alone.
 * O14: one holder at a time, and each new holder has a greater token than every one before it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { InternalTable, Transactional, Tx } from "../contract/Transactional.ts"
import { Database } from "./Database.ts"
import * as StandaloneTable from "./stores/StandaloneTable.ts"

/** Somebody else holds the lock. */
export class LockHeld extends Schema.TaggedError<LockHeld>("effect-dormouse/Locks/LockHeld")("LockHeld", {
  name: Schema.String,
  /** In milliseconds: when the lease ends, unless its holder renews it. */
  retryAfter: Schema.Number
}) {
  override get message() {
    return `the lock ${this.name} is held by somebody else, for ${this.retryAfter} ms unless it is renewed`
  }
}

/** The lease has ended, and somebody else may hold the lock. */
export class LockLost extends Schema.TaggedError<LockLost>("effect-dormouse/Locks/LockLost")("LockLost", {
  name: Schema.String,
  token: Schema.Int
}) {
  override get message() {
    return `the lease of the lock ${this.name} with token ${this.token} has ended`
  }
}

/** That a lock is held, until it expires. Plain data: it can be stored and sent. */
export const Lease = Schema.Struct({
  name: Schema.String,
  /** Greater than that of every holder before. A resource that refuses smaller tokens is safe from late writers. */
  token: Schema.Int,
  /** In milliseconds since the epoch. From this time on others can acquire the lock. */
  expires: Schema.Int
})
/** That a lock is held, until it expires. */
export type Lease = typeof Lease.Type

/** How long a lock is held. */
export interface LockOptions {
  /** How long the lease holds unless it is renewed. At least a millisecond, and finite. */
  readonly duration: Duration.Input
}

/** Acquires, renews and releases locks. */
export class Locks extends Context.Service<
  Locks,
  {
    /** Acquires a lock that nobody holds. A holder cannot acquire it a second time. */
    readonly acquire: (name: string, options: LockOptions) => Effect.Effect<Lease, LockHeld>
    /** Prolongs a lease that has not ended, from now on. Its token stays. */
    readonly renew: (lease: Lease, options: LockOptions) => Effect.Effect<Lease, LockLost>
    /** Ends a lease. Returns whether it had not ended already. */
    readonly release: (lease: Lease) => Effect.Effect<boolean>
    /** Whether a lease can be renewed while an effect runs: not in a transaction, in which nothing waits. */
    readonly canWait: boolean
  }
>()("effect-dormouse/Locks") {}

/** Acquires a lock that nobody holds, or fails with `LockHeld`. */
export const acquire = (name: string, options: LockOptions): Effect.Effect<Lease, LockHeld, Locks> =>
  Locks.use((locks) => locks.acquire(name, options))

/** Prolongs a lease, or fails with `LockLost`: then somebody else may hold the lock. */
export const renew = (lease: Lease, options: LockOptions): Effect.Effect<Lease, LockLost, Locks> =>
  Locks.use((locks) => locks.renew(lease, options))

/** Ends a lease. Returns whether it had not ended already. */
export const release = (lease: Lease): Effect.Effect<boolean, never, Locks> =>
  Locks.use((locks) => locks.release(lease))

/**
 * Runs an effect while a lock is held. The lease is renewed after each third of its duration. When it is lost the effect is
 * interrupted, and the result is `LockLost`. The lock is released when the effect ends. Not in a mutation: use `acquire` there.
 */
export const withLock =
  (name: string, options: LockOptions) =>
  <A, E, R>(
    use: Effect.Effect<A, E, R> | ((lease: Lease) => Effect.Effect<A, E, R>)
  ): Effect.Effect<A, E | LockHeld | LockLost, R | Locks> =>
    Locks.use((locks) => {
      if (!locks.canWait)
        return Effect.die(new Error("withLock waits: in a mutation use Locks.acquire and Locks.release"))
      const wait = durationOf(options) / 3
      const keep = (lease: Lease): Effect.Effect<never, LockLost> =>
        Effect.flatMap(Effect.andThen(Effect.sleep(wait), locks.renew(lease, options)), keep)
      return Effect.acquireUseRelease(
        locks.acquire(name, options),
        (lease) => Effect.raceFirst(typeof use === "function" ? use(lease) : use, keep(lease)),
        (lease) => locks.release(lease)
      )
    })

const durationOf = ({ duration }: LockOptions): number => {
  const millis = Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(duration)))
  if (!(millis >= 1 && Number.isSafeInteger(millis)))
    throw new Error("the duration of a lock is at least 1 ms, and finite")
  return millis
}

const rowTable = "_dormouse_locks"

/** One row for each lock that is held. SQLite never assigns a token twice, also not that of a deleted row. */
const table: InternalTable = {
  name: rowTable,
  create:
    `CREATE TABLE ${rowTable} (token INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, expires INTEGER NOT NULL); ` +
    `CREATE INDEX ${rowTable}_by_expiry ON ${rowTable} (expires)`
}

/** Leases that ended, which an acquisition deletes at most: more than the one that it adds. */
const sweepRows = 8

/** SQLite would store another name, and two of them could become one. */
const checkName = (name: string): void => {
  if (!name.isWellFormed()) throw new Error("the name of a lock has half a surrogate pair")
}

/** The operations on the rows, in one transaction. */
const operations = (query: Tx["query"], now: number) => ({
  acquire: (name: string, options: LockOptions): Lease | LockHeld => {
    checkName(name)
    const [held] = query(`SELECT expires FROM ${rowTable} WHERE name = ?`, [name])
    if (held !== undefined && Number(held[0]) > now) return new LockHeld({ name, retryAfter: Number(held[0]) - now })
    query(`DELETE FROM ${rowTable} WHERE name = ?`, [name])
    query(
      `DELETE FROM ${rowTable} WHERE token IN (SELECT token FROM ${rowTable} WHERE expires <= ? ORDER BY expires LIMIT ?)`,
      [now, sweepRows]
    )
    const expires = now + durationOf(options)
    const [row] = query(`INSERT INTO ${rowTable} (name, expires) VALUES (?, ?) RETURNING token`, [name, expires])
    return { name, token: Number(row![0]), expires }
  },
  renew: ({ name, token }: Lease, options: LockOptions): Lease | LockLost => {
    const expires = now + durationOf(options)
    const renewed = query(
      `UPDATE ${rowTable} SET expires = ? WHERE token = ? AND name = ? AND expires > ? RETURNING token`,
      [expires, token, name, now]
    )
    return renewed.length === 0 ? new LockLost({ name, token }) : { name, token, expires }
  },
  release: ({ name, token }: Lease): boolean =>
    query(`DELETE FROM ${rowTable} WHERE token = ? AND name = ? RETURNING expires`, [token, name]).some(
      ([expires]) => Number(expires) > now
    )
})

type Operations = ReturnType<typeof operations>

const locksOver = (
  run: <A>(body: (locks: Operations) => A) => Effect.Effect<A>,
  canWait: boolean
): Locks["Service"] => ({
  acquire: (name, options) =>
    Effect.flatMap(
      run((locks) => locks.acquire(name, options)),
      (found) => (found instanceof LockHeld ? Effect.fail(found) : Effect.succeed(found))
    ),
  renew: (lease, options) =>
    Effect.flatMap(
      run((locks) => locks.renew(lease, options)),
      (found) => (found instanceof LockLost ? Effect.fail(found) : Effect.succeed(found))
    ),
  release: (lease) => run((locks) => locks.release(lease)),
  canWait
})

const refused = Effect.die(new Error("a query cannot hold a lock: make it a mutation"))
const inQuery: Locks["Service"] = {
  acquire: () => refused,
  renew: () => refused,
  release: () => refused,
  canWait: false
}

/**
 * Locks in the mutations of an app: `App.make({ transactional: [Locks.transactional] })`. A lock that a mutation acquires,
 * renews or releases is so when it commits. In a query a lock is a defect.
 */
export const transactional: Transactional<Locks, Locks["Service"]> = {
  tag: Locks,
  tables: [table],
  open: (tx) =>
    tx.readOnly ? inQuery : locksOver((body) => Effect.sync(() => body(operations(tx.query, tx.now))), false)
}

/** Locks over a `Database`, without an app. */
export const layer: Layer.Layer<Locks, never, Database> = Layer.effect(
  Locks,
  Effect.map(Database, (database) => {
    StandaloneTable.create(database, table)
    const query: Tx["query"] = (sql, params = []) => database.all(sql, params).rows
    return locksOver(
      (body) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          database.transaction(() => body(operations(query, Math.floor(now))))
        ),
      true
    )
  })
)
