/**
 * Jobs that repeat: by a cron expression in a time zone, or after a period. Declared in the app, or set by a handler.
 * Each occurrence is a job of its own, added in one transaction with the time of the next.
 */
import * as EffectCron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schedule from "effect/Schedule"
import type { CallError } from "../protocol/CallError.ts"
import type * as Api from "./Api.ts"
import { type Auth, identity, system } from "./Auth.ts"
import type { CronDefinition, CronState, Timing } from "./CronDefinition.ts"
import { Outbox, OutboxWriter } from "./Outbox.ts"
import { encodeCall } from "./PromisedCalls.ts"
import { refuse } from "./Refusals.ts"
import { delaysOf } from "./Retries.ts"
import type { JobTag } from "./Scheduler.ts"

export { CronDefinition, CronState, Timing } from "./CronDefinition.ts"

/** A declaration for `Jobs.make({ crons })`. */
export interface Declared {
  readonly name: string
  readonly definition: CronDefinition
}

interface AnyTarget {
  readonly api: Api.Declared<any>
  readonly tag: string
  readonly payload: unknown
}

/** How a job repeats. */
export interface CronOptions {
  /** An IANA time zone such as `Europe/Berlin`, or an offset. UTC unless given. */
  readonly zone?: string
  /**
   * Which of two equal local times counts when clocks are set back. Unless given, `both` for an expression with a `*` in its
   * minutes or hours, so that what repeats within a day goes on, and `earlier` for others.
   */
  readonly onDstOverlap?: "earlier" | "later" | "both"
  /** What happens to an occurrence while an earlier one has not ended: `skip` (the default) leaves it out, `queue` waits. */
  readonly overlap?: "skip" | "queue"
  /**
   * What happens to occurrences that were missed by more than a minute, because the object could not run: `skip`, `once` (the
   * default) runs for the last one, and a number, 1,000 at most, for so many of them, the latest. More than one needs `queue`
   * as `overlap`.
   */
  readonly missed?: "skip" | "once" | number
  readonly retry?: Schedule.Schedule<unknown, number>
  /** How often an occurrence is tried with `retry`, 10 unless given. */
  readonly maxAttempts?: number
}

/** What a declared cron calls. */
export interface CronTarget<Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>> {
  readonly api: Api.Declared<Rpcs>
  readonly tag: Tag
  readonly payload: Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>
}

/**
 * Declares a job that repeats by a cron expression, for `Jobs.make({ crons })`. It runs as the system. Throws for an
 * expression that cannot be read or that never comes true.
 */
export const job = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  name: string,
  expression: string,
  options: CronTarget<Rpcs, Tag> & CronOptions
): Declared =>
  declare(
    name,
    Effect.flatMap(readCron(expression, options), (timing) => define(timing, options))
  )

/** Declares a job that repeats after a period, for `Jobs.make({ crons })`. It runs as the system. */
export const every = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  name: string,
  period: Duration.Input,
  options: CronTarget<Rpcs, Tag> & Omit<CronOptions, "zone" | "onDstOverlap">
): Declared =>
  declare(
    name,
    Effect.flatMap(readPeriod(period), (timing) => define(timing, options))
  )

/**
 * Sets a job of this tenant that repeats by a cron expression, in a mutation or an action. One of the same name is replaced.
 * It runs as the caller unless `as` says `system`. Fails for an expression that cannot be read or that never comes true.
 */
export const set = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  name: string,
  expression: string,
  options: CronTarget<Rpcs, Tag> & CronOptions & { readonly as?: "caller" | "system" }
): Effect.Effect<void, CallError, OutboxWriter | Auth> =>
  Effect.flatMap(readCron(expression, options), (timing) => setAs(name, timing, options))

/** The same with a period instead of an expression. */
export const setEvery = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  name: string,
  period: Duration.Input,
  options: CronTarget<Rpcs, Tag> & Omit<CronOptions, "zone" | "onDstOverlap"> & { readonly as?: "caller" | "system" }
): Effect.Effect<void, CallError, OutboxWriter | Auth> =>
  Effect.flatMap(readPeriod(period), (timing) => setAs(name, timing, options))

/** Ends a job that a handler set. Occurrences that were added already still run. Returns whether there was one. */
export const remove = (name: string): Effect.Effect<boolean, CallError, OutboxWriter> =>
  Effect.flatMap(OutboxWriter, ({ removeCron }) => removeCron(name))

/** All jobs that repeat in this tenant, by name. */
export const list: Effect.Effect<ReadonlyArray<CronState>, never, Outbox> = Effect.flatMap(Outbox, ({ crons }) => crons)

/** Occurrences that are made up for at most: all of them are added in one transaction. */
const maxMissed = 1000

/** Whether an expression names no fixed times of the day: cron(8) then ignores changes of the clocks. */
const isInterval = (expression: string): boolean =>
  expression
    .trim()
    .split(/\s+/)
    .slice(0, -3)
    .some((field) => field.includes("*"))

const readCron = (expression: string, options: CronOptions) => {
  const { onDstOverlap = isInterval(expression) ? "both" : "earlier", zone = "UTC" } = options
  const parsed = EffectCron.parse(expression, zone, { onDstOverlap })
  if (Result.isFailure(parsed)) return refuse(`the cron ${expression} in ${zone}: ${parsed.failure.message}`)
  try {
    EffectCron.next(parsed.success, 0)
  } catch {
    return refuse(`the cron ${expression} never comes true`)
  }
  return Effect.succeed({ _tag: "Cron", expression, zone, onDstOverlap } satisfies Timing)
}

const readPeriod = (period: Duration.Input) => {
  const millis = Math.floor(Duration.toMillis(Duration.fromInputUnsafe(period)))
  return Number.isSafeInteger(millis) && millis > 0
    ? Effect.succeed({ _tag: "Every", millis } satisfies Timing)
    : refuse("a period is at least a millisecond, and finite")
}

const define = Effect.fnUntraced(function* (
  timing: Timing,
  { api, maxAttempts = 10, missed = "once", overlap = "skip", payload, retry, tag }: AnyTarget & CronOptions
) {
  const count = missed === "skip" ? 0 : missed === "once" ? 1 : missed
  if (!(Number.isInteger(count) && count >= 0 && count <= maxMissed)) {
    return yield* refuse(`missed is a whole number from 0 to ${maxMissed}`)
  }
  if (count > 1 && overlap === "skip") return yield* refuse('more than one that was missed needs overlap: "queue"')
  return {
    ...(yield* encodeCall(api, tag, payload)),
    timing,
    caller: system,
    overlap,
    missed: count,
    ...(retry !== undefined && { delays: yield* delaysOf(retry, maxAttempts - 1) })
  } satisfies CronDefinition
})

const declare = (name: string, definition: Effect.Effect<CronDefinition, CallError>): Declared => ({
  name,
  definition: Effect.runSync(definition)
})

const setAs = Effect.fnUntraced(function* (
  name: string,
  timing: Timing,
  options: AnyTarget & CronOptions & { readonly as?: "caller" | "system" }
) {
  const definition = yield* define(timing, options)
  const { setCron } = yield* OutboxWriter
  yield* setCron(name, options.as === "system" ? definition : { ...definition, caller: yield* identity })
})
