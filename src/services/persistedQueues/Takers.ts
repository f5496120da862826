/**
 * Those who wait for an element of one queue in this process. Nobody polls: an offer wakes one of them, and one of them has
 * a timer until the next element may be delivered. Whoever takes an element, or gives up after it was woken, wakes the next.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Database } from "../Database.ts"

/** The longest timer. A runtime may not have longer ones. */
const maxSleep = 86_400_000

/** Those who wait for one queue. */
export class Takers {
  private readonly waiting = new Set<Waiter>()
  /** When the first timer ends. */
  private timer = Number.POSITIVE_INFINITY

  /** Wakes the one who has waited longest. */
  wakeNext(): void {
    for (const waiter of this.waiting) {
      this.waiting.delete(waiter)
      waiter.wake()
      return
    }
  }

  /**
   * Waits until an offer wakes the caller, or until a time. The caller waits from the call on, before the effect runs: what
   * happens in between is not missed.
   */
  wait(now: number, until: number): Effect.Effect<void> {
    const waiter = new Waiter()
    this.waiting.add(waiter)
    const hasTimer = until < this.timer
    if (hasTimer) this.timer = until
    const leave = () => {
      this.waiting.delete(waiter)
      if (hasTimer) this.timer = Number.POSITIVE_INFINITY
    }
    const left = Duration.millis(Math.min(until - now, maxSleep))
    const woken = hasTimer ? Effect.raceFirst(waiter.woken, Effect.sleep(left)) : waiter.woken
    return Effect.onExit(woken, (exit) =>
      Effect.sync(() => {
        leave()
        // Nobody else has a timer, or was woken in its place.
        if (exit._tag === "Failure" && (hasTimer || waiter.isWoken)) this.wakeNext()
      })
    )
  }
}

class Waiter {
  isWoken = false
  private resume: (() => void) | undefined
  readonly woken: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.isWoken) return resume(Effect.void)
    this.resume = () => resume(Effect.void)
  })

  wake(): void {
    this.isWoken = true
    this.resume?.()
  }
}

/** By database: several stores over one of them wake each other's takers. */
const byDatabase = new WeakMap<Database["Service"], Map<string, Takers>>()

/** Those who wait for a queue of a database. */
export const of = (database: Database["Service"], queue: string): Takers => {
  const queues = byDatabase.get(database) ?? new Map<string, Takers>()
  byDatabase.set(database, queues)
  const takers = queues.get(queue) ?? new Takers()
  queues.set(queue, takers)
  return takers
}
