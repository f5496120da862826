/**
 * Counts the attempts of entries that have ended.
 * Apart from the metrics, which authors read.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { type AttemptOutcome, attempts, delay, duration } from "../JobMetrics.ts"
import type { Delivery } from "./OutboxTable.ts"

/** The lane of an entry, as metrics name it: that of a queue has no priority. */
const laneOf = ({ cron, lane }: Delivery): string =>
  lane.startsWith("queue ") ? lane.slice(0, lane.lastIndexOf(" ")) : cron === null ? "jobs" : "crons"

/** What of a context decides where metrics are kept. */
export const registryOf = (context: Context.Context<never>): Context.Context<never> =>
  Context.make(Metric.MetricRegistry, Context.get(context, Metric.MetricRegistry)).pipe(
    Context.add(Metric.CurrentMetricAttributes, Context.get(context, Metric.CurrentMetricAttributes))
  )

/** When an attempt began and ended, in milliseconds since the epoch. The begin of one that was cut is not known. */
export interface AttemptTimes {
  readonly began: number | undefined
  readonly now: number
}

/** An attempt has ended. */
export const ended = (
  delivery: Delivery,
  outcome: AttemptOutcome,
  { began, now }: AttemptTimes,
  context: Context.Context<never>
): void => {
  const lane = laneOf(delivery)
  attempts(lane, outcome).updateUnsafe(1, context)
  if (began === undefined) return
  delay(lane).updateUnsafe(Math.max(0, began - delivery.due), context)
  duration(lane).updateUnsafe(Math.max(0, now - began), context)
}
