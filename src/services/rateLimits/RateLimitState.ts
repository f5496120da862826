/**
 * What a rate limit counts, as data: each operation is a function from the state of a key and the time to the next state and
 * the answer. The stores and the limits of callers only keep the states. Semantics are those of Effect's `RateLimiterStore`.
 */
import * as Duration from "effect/Duration"
import type {
  AdaptiveConsumeOptions,
  AdaptiveConsumeResult,
  AdaptiveFeedbackOptions,
  RateLimiterStore
} from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import { type Decision, take } from "./FixedWindow.ts"

/** The options of `fixedWindow` and `tokenBucket`. */
export type FixedWindowOptions = Parameters<RateLimiterStore["Service"]["fixedWindow"]>[0]
/** The options of `tokenBucket`. */
export type TokenBucketOptions = Parameters<RateLimiterStore["Service"]["tokenBucket"]>[0]

/** The tokens that were taken, and when they count as returned. Times are milliseconds since the epoch. */
export const FixedWindow = Schema.Struct({ count: Schema.Finite, expires: Schema.Finite })
/** The tokens that were taken, and when they count as returned. */
export type FixedWindow = typeof FixedWindow.Type

/** The tokens that are left, and when the last one came back. `expires`: from then on the bucket is as good as a new one. */
export const TokenBucket = Schema.Struct({ tokens: Schema.Finite, refilled: Schema.Finite, expires: Schema.Finite })
/** The tokens that are left, and when the last one came back. */
export type TokenBucket = typeof TokenBucket.Type

/** What was learned from the answers of somebody who limits us. */
export const Adaptive = Schema.Struct({
  phase: Schema.Literals(["cooldown", "learning", "learned"]),
  epoch: Schema.Finite,
  cooldownUntil: Schema.Finite,
  learningSince: Schema.Finite,
  observed: Schema.Finite,
  learnedLimit: Schema.Finite,
  learnedWindow: Schema.Finite,
  expires: Schema.Finite
})
/** What was learned from the answers of somebody who limits us. */
export type Adaptive = typeof Adaptive.Type

/** Takes tokens of a window. Beyond the limit none are taken, and the answer is more than the limit. */
export const fixedWindow = (
  state: FixedWindow | undefined,
  now: number,
  { limit, refillRate, tokens }: FixedWindowOptions
): Decision<FixedWindow, readonly [count: number, ttl: number]> =>
  take(state, now, tokens, limit, Duration.toMillis(refillRate))

/** Takes tokens of a bucket that is refilled. */
export const tokenBucket = (
  state: TokenBucket | undefined,
  now: number,
  { allowOverflow, limit, refillRate, tokens }: TokenBucketOptions
): Decision<TokenBucket, readonly [remaining: number, elapsed: number]> => {
  const interval = Duration.toMillis(refillRate)
  let { refilled, tokens: left } = state ?? { tokens: limit, refilled: now }
  const returned = Math.floor((now - refilled) / interval)
  if (returned > 0) {
    left = Math.min(limit, left + returned)
    refilled += returned * interval
  }
  if (left >= limit) refilled = now
  const remaining = left - tokens
  const kept = allowOverflow || remaining >= 0 ? remaining : left
  const expires = refilled + Math.ceil(limit - kept) * interval
  return {
    state: { tokens: kept, refilled, expires },
    answer: [remaining, Math.max(0, now - refilled)]
  }
}

/** An adaptive state is kept for as long after its last use. */
const adaptiveGrace = 60_000
const adaptiveMaxWindow = 3_600_000

const clampWindow = (millis: number): number =>
  Number.isNaN(millis) || millis <= 0 ? 1 : Math.min(millis, adaptiveMaxWindow)

const noWait = (epoch: number, phase: AdaptiveConsumeResult["phase"]): AdaptiveConsumeResult => ({
  delay: Duration.zero,
  epoch,
  phase
})

/** Takes tokens of a limit that is learned. */
export const adaptiveConsume = (
  kept: Adaptive | undefined,
  now: number,
  { fallbackWindow, tokens }: AdaptiveConsumeOptions
): Decision<Adaptive, AdaptiveConsumeResult> => {
  const state = kept !== undefined && kept.expires > now ? kept : undefined
  if (state === undefined) return { state: kept, answer: noWait(0, "inactive") }
  const { epoch, phase } = state
  if (phase === "cooldown") {
    if (state.cooldownUntil > now) {
      return { state, answer: { delay: Duration.millis(state.cooldownUntil - now), epoch, phase } }
    }
    const expires = now + Duration.toMillis(fallbackWindow) + adaptiveGrace
    return {
      state: { ...state, phase: "learning", epoch: epoch + 1, learningSince: now, observed: tokens, expires },
      answer: noWait(epoch + 1, "learning")
    }
  }
  if (phase === "learning") {
    return { state: { ...state, observed: state.observed + tokens }, answer: noWait(epoch, phase) }
  }
  const interval = state.learnedWindow / state.learnedLimit
  const isOver = state.cooldownUntil <= now
  const observed = (isOver ? 0 : state.observed) + tokens
  const cooldownUntil = (isOver ? now : state.cooldownUntil) + interval * tokens
  const elapsed = observed * interval - (cooldownUntil - now)
  const wait = Math.floor((observed - 1) / state.learnedLimit) * state.learnedWindow - elapsed
  return {
    state: { ...state, observed, cooldownUntil },
    answer: { delay: wait <= 0 ? Duration.zero : Duration.millis(wait), epoch, phase }
  }
}

const nothingLearned = { learningSince: 0, observed: 0, learnedLimit: 0, learnedWindow: 0 }

/** Learns from an answer. */
export const adaptiveFeedback = (
  kept: Adaptive | undefined,
  now: number,
  { epoch, retryAfter, status, tokens }: AdaptiveFeedbackOptions
): Decision<Adaptive, void> => {
  const unchanged = { state: kept, answer: undefined }
  if (status !== 429 || retryAfter === undefined) return unchanged
  const wait = clampWindow(Duration.toMillis(retryAfter))
  const until = now + wait
  const state = kept !== undefined && kept.expires > now ? kept : undefined
  const cooldown = (epoch: number): Decision<Adaptive, void> => ({
    state: { ...nothingLearned, phase: "cooldown", epoch, cooldownUntil: until, expires: until + adaptiveGrace },
    answer: undefined
  })
  if (state === undefined) return epoch === 0 ? cooldown(0) : unchanged
  if (state.epoch !== epoch) return unchanged
  if (state.phase === "cooldown") {
    const cooldownUntil = Math.max(state.cooldownUntil, until)
    return { state: { ...state, cooldownUntil, expires: cooldownUntil + adaptiveGrace }, answer: undefined }
  }
  const accepted = state.observed - tokens
  if (state.phase === "learned" || accepted <= 0) return cooldown(epoch)
  const learnedWindow = clampWindow(now - state.learningSince + wait)
  return {
    state: {
      ...state,
      phase: "learned",
      epoch: epoch + 1,
      cooldownUntil: state.learningSince + learnedWindow,
      observed: accepted,
      learnedLimit: accepted,
      learnedWindow,
      expires: now + learnedWindow + adaptiveGrace
    },
    answer: undefined
  }
}
