/**
 * The window of a rate limit, as data: a function from its state and the time to the next state and the answer.
 * Apart from the other kinds of limits and from all schemas: every Worker counts the calls of its callers by it.
 */

/** The next state of a key, and the answer. The same state means that there is nothing to write. */
export interface Decision<State, Answer> {
  readonly state: State | undefined
  readonly answer: Answer
}

/** The tokens that were taken, and when they count as returned. Times are milliseconds since the epoch. */
export interface FixedWindow {
  readonly count: number
  readonly expires: number
}

/**
 * Takes tokens of a window; each counts as returned after `interval` milliseconds. Beyond the limit none are taken, and the
 * answer is more than the limit.
 */
export const take = (
  state: FixedWindow | undefined,
  now: number,
  tokens: number,
  limit: number | undefined,
  interval: number
): Decision<FixedWindow, readonly [count: number, ttl: number]> => {
  const { count, expires } = state !== undefined && state.expires > now ? state : { count: 0, expires: now }
  if (limit && count + tokens > limit) return { state, answer: [count + tokens, expires - now] }
  const next = { count: count + tokens, expires: expires + interval * tokens }
  return { state: next, answer: [next.count, next.expires - now] }
}
