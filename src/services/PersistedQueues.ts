/**
 * The store of Effect's `PersistedQueue` over a `Database`: claims that end, retries, dead letters, ids that are added once.
 * O8: what Effect's memory store answers, this one answers; and what was offered outlives the process.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { Database } from "./Database.ts"
import * as QueueRows from "./persistedQueues/QueueRows.ts"
import * as Takers from "./persistedQueues/Takers.ts"
import * as StandaloneTable from "./stores/StandaloneTable.ts"

export {
  layerCleanup,
  make,
  type PersistedQueue,
  PersistedQueueError,
  PersistedQueueFactory,
  PersistedQueueStore
} from "effect/persistence/PersistedQueue"
export type { DeadLetter } from "./persistedQueues/QueueRows.ts"

/** How the store claims elements. */
export interface StoreOptions {
  /**
   * How long a claim holds, 2 minutes unless given. It is renewed while the element is processed. When the process is lost,
   * the element is delivered again after this time.
   */
  readonly lease?: Duration.Input
}

/** What becomes of an element after an attempt to process it. */
type Outcome = "completed" | "released" | { readonly retries: boolean; readonly cause: Cause.Cause<unknown> }

/** Effect's signal that an element cannot be decoded: another attempt would fail as well. Effect does not export it. */
const cannotBeDecoded = (error: unknown): error is { readonly cause: Cause.Cause<unknown> } =>
  Predicate.isTagged(error, "~effect/persistence/PersistedQueue/DeadLetter") && Predicate.hasProperty(error, "cause")

/** Decides by the exit of an attempt. */
const outcomeOf = (exit: Exit.Exit<unknown, unknown>, attempts: number, maxAttempts: number): Outcome => {
  if (Exit.isSuccess(exit)) return "completed"
  const { cause } = exit
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason) && cannotBeDecoded(reason.error))
      return { retries: false, cause: reason.error.cause }
  }
  if (Cause.hasInterruptsOnly(cause)) return "released"
  return { retries: attempts < maxAttempts, cause }
}

const errorOf = (message: string) => new PersistedQueue.PersistedQueueError({ message })

/** Runs statements. What they throw is logged, and the caller gets an error without it. */
const attempt = <A>(message: string, body: () => A): Effect.Effect<A, PersistedQueue.PersistedQueueError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(body())
    } catch (cause) {
      return Effect.andThen(Effect.logError(message, cause), Effect.fail(errorOf(message)))
    }
  })

/** SQLite would store other names, and two of them could become one. */
const checkNames = (...names: ReadonlyArray<string>): void => {
  if (!names.every((name) => name.isWellFormed())) throw new Error("a name or id has half a surrogate pair")
}

const notOffered = "the element could not be added to the queue"
const notTaken = "no element could be taken from the queue"
const notSettled = "the end of an attempt could not be stored"
const notCleaned = "ended elements could not be deleted"
const notRead = "the dead letters of the queue could not be read or written"

/** Tries until another attempt could have begun. */
const settleRetries = (lease: number) =>
  Schedule.min([Schedule.exponential(200, 1.5), Schedule.spaced(5000)]).pipe(Schedule.upTo({ duration: lease }))

/** Effect's store over a database. The scope is that of its claims. */
const makeStore = (options: StoreOptions = {}) =>
  Effect.gen(function* () {
    const database = yield* Database
    const scope = yield* Effect.scope
    StandaloneTable.create(database, QueueRows.table)
    const rows = QueueRows.over(database)
    const lease = Math.max(1, Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(options.lease ?? "2 minutes"))))
    // No two stores of a database have the same one, and no two claims of a store the same number.
    const store = yield* Effect.sync(() => SecureRandom.uuidV4Unsafe())
    let claims = 0
    const held = new Set<QueueRows.Claimed>()

    let isRenewing = false
    const stopRenewing = Effect.sync(() => {
      isRenewing = false
    })
    /** Renews the claims until there are none. It runs only while there are some, so that an idle process sleeps. */
    const renewing = Effect.gen(function* () {
      while (held.size > 0) {
        yield* Effect.sleep(lease / 4)
        if (held.size === 0) break
        const now = yield* Effect.clockWith(({ currentTimeMillis }) => currentTimeMillis)
        yield* Effect.ignore(attempt("the claims of a queue could not be renewed", () => rows.renew(held, now + lease)))
      }
    }).pipe(Effect.ensuring(stopRenewing))
    const startRenewing = Effect.suspend(() => {
      isRenewing = true
      return Effect.forkIn(Effect.interruptible(renewing), scope)
    })

    const settle = (claimed: QueueRows.Claimed, body: () => void): Effect.Effect<void> =>
      Effect.suspend(() => {
        held.delete(claimed)
        try {
          body()
          return Effect.void
        } catch {
          return attempt(notSettled, body).pipe(Effect.retry(settleRetries(lease)), Effect.orDie)
        }
      })

    /** Claims the first element. What has used up its attempts, in a process that was lost, becomes a dead letter. */
    const claim = (queue: string, maxAttempts: number, now: number): QueueRows.Claimed | undefined => {
      for (;;) {
        const claimed = rows.claim(queue, `${store} ${++claims}`, now, now + lease)
        if (claimed === undefined || claimed.attempts <= maxAttempts) return claimed
        rows.fail(claimed, now, "the process was lost during the last attempt")
      }
    }

    return PersistedQueue.PersistedQueueStore.of({
      offer: ({ delay, element, id, isCustomId, name }) =>
        Effect.clockWith((clock) =>
          attempt(notOffered, () => {
            checkNames(name, id)
            const now = clock.currentTimeMillisUnsafe()
            const at = delay === undefined ? now : Math.ceil(now + Duration.toMillis(delay))
            rows.add(name, id, isCustomId, JSON.stringify(element), at)
            Takers.of(database, name).wakeNext()
          })
        ),
      take: ({ maxAttempts, name, retryDelay }) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.contextWith((context: Context.Context<Scope.Scope>) => {
            const clock = Context.get(context, Clock.Clock)
            const takers = Takers.of(database, name)
            const end = (claimed: QueueRows.Claimed, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
              const now = clock.currentTimeMillisUnsafe()
              const outcome = outcomeOf(exit, claimed.attempts, maxAttempts)
              if (outcome === "completed") return settle(claimed, () => rows.complete(claimed, now))
              const again = (body: () => void) =>
                settle(claimed, () => {
                  body()
                  takers.wakeNext()
                })
              if (outcome === "released") return again(() => rows.release(claimed))
              const failure = Cause.pretty(outcome.cause)
              if (!outcome.retries) return settle(claimed, () => rows.fail(claimed, now, failure))
              return Effect.flatMap(retryDelay(claimed.attempts), (delay) => {
                const at = clock.currentTimeMillisUnsafe() + Duration.toMillis(delay)
                return again(() => rows.retry(claimed, Math.min(Math.ceil(at), Number.MAX_SAFE_INTEGER), failure))
              })
            }
            /** Claims elements until the text of one is not damaged: that of the others would fail each time. */
            const claimReadable = (now: number): Claim | undefined => {
              for (;;) {
                const claimed = claim(name, maxAttempts, now)
                if (claimed === undefined) return undefined
                try {
                  return { claimed, element: JSON.parse(claimed.element) }
                } catch {
                  rows.fail(claimed, now, "the stored element is not JSON")
                }
              }
            }
            const look: Effect.Effect<Taken, PersistedQueue.PersistedQueueError> = Effect.flatMap(
              attempt(notTaken, () => {
                checkNames(name)
                const now = clock.currentTimeMillisUnsafe()
                return claimReadable(now) ?? takers.wait(now, rows.next(name))
              }),
              (found) => {
                if (!("claimed" in found)) return Effect.flatMap(restore(found), () => look)
                const { claimed, element } = found
                // There may be one for the next one as well.
                takers.wakeNext()
                held.add(claimed)
                const taken: Taken = { id: claimed.id, attempts: claimed.attempts, element }
                const ending = Scope.addFinalizerExit(Context.get(context, Scope.Scope), (exit) => end(claimed, exit))
                return Effect.as(isRenewing ? ending : Effect.andThen(ending, startRenewing), taken)
              }
            )
            return look
          })
        ),
      cleanup: ({ failedTimeToLive, timeToLive }) =>
        Effect.clockWith((clock) => {
          const now = clock.currentTimeMillisUnsafe()
          const removeAll = (state: "completed" | "failed", age: Duration.Duration) =>
            attempt(notCleaned, () => rows.removeEnded(state, now - Duration.toMillis(age))).pipe(
              // Others run between two statements.
              Effect.tap(Effect.yieldNow),
              Effect.repeat({ while: (hasMore) => hasMore })
            )
          const completed = removeAll("completed", timeToLive)
          return failedTimeToLive === undefined
            ? Effect.asVoid(completed)
            : Effect.asVoid(Effect.andThen(completed, removeAll("failed", failedTimeToLive)))
        })
    })
  })

interface Claim {
  readonly claimed: QueueRows.Claimed
  readonly element: unknown
}

interface Taken {
  readonly id: string
  readonly attempts: number
  readonly element: unknown
}

/** Effect's store over a `Database`. */
export const layerStore = (options?: StoreOptions): Layer.Layer<PersistedQueue.PersistedQueueStore, never, Database> =>
  Layer.effect(PersistedQueue.PersistedQueueStore, makeStore(options))

/** Effect's `PersistedQueueFactory` over a `Database`: what `PersistedQueues.make` needs. */
export const layer = (options?: StoreOptions): Layer.Layer<PersistedQueue.PersistedQueueFactory, never, Database> =>
  Layer.provide(PersistedQueue.layer, layerStore(options))

/** The elements of a queue that could not be processed, the oldest first: at most `take`, 100 unless given. */
export const deadLetters = (options: {
  readonly name: string
  readonly take?: number
}): Effect.Effect<ReadonlyArray<QueueRows.DeadLetter>, PersistedQueue.PersistedQueueError, Database> =>
  Database.use((database) =>
    attempt(notRead, () => {
      StandaloneTable.create(database, QueueRows.table)
      return QueueRows.over(database).failed(options.name, options.take ?? 100)
    })
  )

/** Delivers a dead letter again, with all attempts. Returns whether there was one with this id. */
export const redeliver = (options: {
  readonly name: string
  readonly id: string
}): Effect.Effect<boolean, PersistedQueue.PersistedQueueError, Database> =>
  Database.use((database) =>
    Effect.clockWith((clock) =>
      attempt(notRead, () => {
        StandaloneTable.create(database, QueueRows.table)
        const done = QueueRows.over(database).redeliver(options.name, options.id, clock.currentTimeMillisUnsafe())
        if (done) Takers.of(database, options.name).wakeNext()
        return done
      })
    )
  )
