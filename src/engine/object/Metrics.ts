/**
 * Metrics of live queries, of all objects of a process together.
 * Each flush adds what was done since the flush before.
 */
import * as Effect from "effect/Effect"
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
export const count = (done: LiveTotals): Effect.Effect<void> =>
  Effect.andThen(
    Effect.andThen(Metric.update(runs, done.runs), Metric.update(unchangedRuns, done.unchangedRuns)),
    Effect.andThen(Metric.update(frames, done.frames), Metric.update(bytes, done.bytes))
  )
