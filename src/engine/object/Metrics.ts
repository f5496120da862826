/**
 * Metrics of live queries, of all objects of a process together.
 * Each flush adds what was done since the flush before.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { LiveTotals } from "./LiveQueries.ts"

/** Runs of live queries: by commits that touched them, and for new subscribers. */
export const runs = Metric.counter("dormouse_live_runs", { incremental: true })
/** Runs whose result was that of the run before. */
export const unchangedRuns = Metric.counter("dormouse_live_unchanged_runs", { incremental: true })
/** Frames sent to sockets. */
export const frames = Metric.counter("dormouse_live_frames", { incremental: true })
/** Characters of those frames, with the messages around them. */
export const bytes = Metric.counter("dormouse_live_bytes", { incremental: true })

/** Adds what was done to the metrics. */
export const count = (done: LiveTotals, context: Context.Context<never>): void => {
  runs.updateUnsafe(done.runs, context)
  unchangedRuns.updateUnsafe(done.unchangedRuns, context)
  frames.updateUnsafe(done.frames, context)
  bytes.updateUnsafe(done.bytes, context)
}
