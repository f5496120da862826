/**
 * The delays of a schedule, as numbers that a row can store: a retry may happen in another process, years later.
 * Effect's `PersistedQueue` replays a schedule in the same way, with the number of the attempt as its input.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"

/** The milliseconds before each retry, at most so many. The schedule's time is the sum of its delays. */
export const delaysOf = Effect.fnUntraced(function* (
  schedule: Schedule.Schedule<unknown, number>,
  retries: number
): Effect.fn.Return<ReadonlyArray<number>> {
  const step = yield* Schedule.toStep(schedule)
  const delays: Array<number> = []
  let now = 0
  while (delays.length < retries) {
    const next = yield* Pull.catchDone(step(now, delays.length + 1), () => Effect.undefined)
    if (next === undefined) break
    const delay = Math.min(Duration.toMillis(next[1]), maxDelay)
    delays.push(delay)
    now += delay
  }
  return delays
})

/** A year. What is longer would never be tried again. */
const maxDelay = 366 * 24 * 60 * 60 * 1000

/** From 1 second on, doubled each time, up to 5 minutes: what Effect's `PersistedQueue` does. */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("1 second"),
  Schedule.spaced("5 minutes")
])
