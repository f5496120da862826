/**
 * Keys that are loaded from elsewhere, and loaded again when they are old or when a token names an unknown one.
 * `RefreshPolicy` decides when; all requests of an isolate share the keys and the load.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Unavailable } from "../../protocol/CallError.ts"
import type { KeySet } from "./KeySet.ts"
import { decide, isUsable, type RefreshPolicy, type RefreshTimes } from "./RefreshPolicy.ts"

/** Where a verifier gets its keys. */
export interface KeySource {
  /** The keys. The same object as long as they are the same keys. */
  readonly current: Effect.Effect<KeySet, Unavailable>
  /** The keys for a token that the current ones do not know: loaded again, if that may be now. */
  readonly search: Effect.Effect<KeySet, Unavailable>
  /** How often keys were loaded. What was loaded meanwhile need not be loaded again. */
  readonly loads: () => number
}

/** Keys that were made elsewhere, and are loaded again later. */
export interface RefreshingKeys extends KeySource {
  /** Replaces the keys, as if they had been loaded now. */
  readonly put: (keys: KeySet) => Effect.Effect<void>
}

/** Keys that never change. */
export const fixed = (keys: KeySet): KeySource => ({
  current: Effect.succeed(keys),
  search: Effect.succeed(keys),
  loads: () => 1
})

const unavailable = new Unavailable({ detail: "the keys that verify tokens cannot be read now" })

/** Keys that are loaded with the first token. */
export const make = (load: Effect.Effect<KeySet, unknown>, policy: RefreshPolicy): RefreshingKeys => {
  let times: RefreshTimes = {}
  let keys: KeySet | undefined
  let done: Promise<void> | undefined
  let loads = 0

  const accept = (loaded: KeySet) => {
    loads++
    if (keys?.fingerprint !== loaded.fingerprint) keys = loaded
  }

  /** Loads the keys, in the fiber of the request that needs them first. Does not fail. */
  const run = (now: number, isSearch: boolean) =>
    Effect.suspend(() => {
      // A promise and no `Deferred`: the platform resumes each request that waits for it in a context of its own.
      const { promise, resolve } = Promise.withResolvers<void>()
      const { running: _, ...before } = times
      times = { ...before, running: now, ...(isSearch && { searched: now }) }
      done = promise
      const settle = (after: RefreshTimes) => {
        const isCurrent = done === promise
        // Another load has begun when this one was taken for lost.
        if (isCurrent) {
          times = after
          done = undefined
        }
        resolve()
        return isCurrent
      }
      return load.pipe(
        Effect.timeout(policy.timeout),
        Effect.onExit((exit) =>
          Effect.flatMap(Clock.currentTimeMillis, (end) => {
            const { running: _, ...rest } = times
            if (Exit.isSuccess(exit)) {
              const { failed: _, ...good } = rest
              if (settle({ ...good, loaded: now })) accept(exit.value)
              return Effect.void
            }
            const isInterrupted = Exit.hasInterrupts(exit)
            // Those who waited for it give up, and do not load the keys one after the other.
            settle(isInterrupted ? rest : { ...rest, failed: end })
            return isInterrupted ? Effect.void : Effect.logWarning("the keys of Auth could not be loaded", exit.cause)
          })
        ),
        Effect.ignore
      )
    })

  const get = (searches: boolean): Effect.Effect<KeySet, Unavailable> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const decision = decide(times, policy, now, searches)
      if (decision === "use" && keys !== undefined) return Effect.succeed(keys)
      if (decision === "load") return Effect.andThen(run(now, searches && isUsable(times, policy, now)), settled)
      if (decision !== "join" || done === undefined) return Effect.fail(unavailable)
      const running = done
      const before = loads
      return Effect.promise(() => running).pipe(
        Effect.timeoutOption(policy.timeout),
        // The request that loaded the keys may have ended before they came: then this one loads them.
        Effect.andThen(Effect.suspend(() => (loads === before ? get(searches) : settled)))
      )
    })

  /** After a load: the keys that it brought, or those that were there before. */
  const settled = Effect.flatMap(Clock.currentTimeMillis, (now) =>
    keys !== undefined && isUsable(times, policy, now) ? Effect.succeed(keys) : Effect.fail(unavailable)
  )

  return {
    current: get(false),
    search: get(true),
    loads: () => loads,
    put: (made) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        // What is being loaded may be older.
        const { running: _, ...rest } = times
        times = { ...rest, loaded: now }
        done = undefined
        accept(made)
      })
  }
}
