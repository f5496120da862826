/**
 * When keys are loaded again: a decision from the times of what happened before. Pure.
 * A6: one load at a time; whatever tokens callers send, loads are limited by `cooldown`; keys that cannot be loaded again are
 * used until `staleFor`.
 */

/** How old keys may be. All in milliseconds. */
export interface RefreshPolicy {
  /** Keys are loaded again when they are older. */
  readonly refreshAfter: number
  /** Keys that are older are not used any more. */
  readonly staleFor: number
  /** Between two loads because of a token with an unknown key, and after a load that failed. */
  readonly cooldown: number
  /** After a load that failed, when there are no keys at all. */
  readonly retryAfter: number
  /** How long a load may take. */
  readonly timeout: number
}

/** When what happened. Milliseconds since the epoch. */
export interface RefreshTimes {
  /** The start of the load that the current keys come from. */
  readonly loaded?: number
  /** The end of the last load that failed. */
  readonly failed?: number
  /** The start of the last load because of a token with an unknown key. */
  readonly searched?: number
  /** The start of the load that is running. */
  readonly running?: number
}

/** What to do: use the keys that are there, load them, wait for the load that is running, or give up. */
export type Decision = "use" | "load" | "join" | "give up"

const isWithin = (since: number | undefined, duration: number, now: number): boolean =>
  since !== undefined && since <= now && now < since + duration

/** Whether there are keys that may be used. */
export const isUsable = ({ loaded }: RefreshTimes, policy: RefreshPolicy, now: number): boolean =>
  isWithin(loaded, policy.staleFor, now)

/** What to do for a caller. One who `searches` has a token with a key that the current keys do not contain. */
export const decide = (times: RefreshTimes, policy: RefreshPolicy, now: number, searches = false): Decision => {
  const usable = isUsable(times, policy, now)
  if (usable && !searches && isWithin(times.loaded, policy.refreshAfter, now)) return "use"
  // A load that takes longer was lost with the request that started it.
  if (isWithin(times.running, policy.timeout, now)) return usable && !searches ? "use" : "join"
  if (isWithin(times.failed, usable ? policy.cooldown : policy.retryAfter, now)) return usable ? "use" : "give up"
  if (usable && searches && isWithin(times.searched, policy.cooldown, now)) return "use"
  return "load"
}
