import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { LiveQueries } from "./LiveQueries.ts"

/** Runs of live queries: by commits that touched them, and for subscribers who came. */
export const runs = Metric.counter("dormouse_live_runs", { incremental: true })
/** Runs that gave the result that was there. */
export const vainRuns = Metric.counter("dormouse_live_vain_runs", { incremental: true })
/** Frames sent to sockets. */
export const frames = Metric.counter("dormouse_live_frames", { incremental: true })
/** Characters of those frames, with what is around them. */
export const bytes = Metric.counter("dormouse_live_bytes", { incremental: true })

/** Flushes, as one span, and counts what it did and what was done since the flush before. */
export const flush = (live: LiveQueries): Effect.Effect<void> =>
  Effect.gen(function* () {
    live.flush()
    const done = live.takeTotals()
    yield* Metric.update(runs, done.runs)
    yield* Metric.update(vainRuns, done.vainRuns)
    yield* Metric.update(frames, done.frames)
    yield* Metric.update(bytes, done.bytes)
    yield* Effect.annotateCurrentSpan(done)
  }).pipe(Effect.withSpan("dormouse.live.flush"))
