/**
 * Metrics of jobs and messages, of all objects of a process together. No tenant is named: their number has no limit.
 * `Deliveries.ts` updates them when an attempt ends, and `OutboxApi.ts` for what a broker carried.
 */
import * as Metric from "effect/Metric"

/** How an attempt ended: the entry is gone, is tried again, or is kept as failed. */
export type AttemptOutcome = "done" | "retried" | "failed"

/** Remembers what was made for each lane. Lanes are declared: there are few. */
const byLane = <A>(make: (lane: string) => A): ((lane: string) => A) => {
  const made = new Map<string, A>()
  return (lane) => {
    const known = made.get(lane)
    if (known !== undefined) return known
    const value = make(lane)
    made.set(lane, value)
    return value
  }
}

const counters = byLane((lane): Record<AttemptOutcome, Metric.Counter<number>> => {
  const counter = (outcome: AttemptOutcome) =>
    Metric.counter("dormouse_jobs_attempts", { attributes: { lane, outcome }, incremental: true })
  return { done: counter("done"), retried: counter("retried"), failed: counter("failed") }
})

/** Attempts that have ended. A lane is `jobs`, `crons`, or `queue` with the name of a queue. */
export const attempts = (lane: string, outcome: AttemptOutcome): Metric.Counter<number> => counters(lane)[outcome]

/** From a millisecond to about nine hours. */
const boundaries = Metric.exponentialBoundaries({ start: 1, factor: 2, count: 26 })
const millisecondsOf = (name: string) =>
  byLane((lane) => Metric.histogram(name, { attributes: { lane, time_unit: "milliseconds" }, boundaries }))

/** Milliseconds by which attempts began later than they were due. One that was cut is in none of the two. */
export const delay: (lane: string) => Metric.Histogram<number> = millisecondsOf("dormouse_jobs_delay")

/** Milliseconds from the begin of attempts to their end. */
export const duration: (lane: string) => Metric.Histogram<number> = millisecondsOf("dormouse_jobs_duration")
