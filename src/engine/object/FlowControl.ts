/**
 * How much a socket is sent before it acknowledges: decisions over the state of its subscriptions, without effects.
 * A subscription whose last frame is not acknowledged waits, and then gets the newest result only.
 */

/** How far the reader of one live query is. */
export interface ReaderState {
  /** Whether the client acknowledges frames on arrival. Its live queries are sent their changes together. */
  readonly prompt: boolean
  /** Messages that the client has not acknowledged. */
  readonly unacknowledged: number
}

/** Which of the subscriptions with a newer result are sent it now, and which wait for an acknowledgement. */
export const sendable = <S extends ReaderState>(
  due: ReadonlyArray<S>
): { readonly now: ReadonlyArray<S>; readonly waiting: ReadonlyArray<S> } => {
  // A prompt client acknowledges at once: waiting for it keeps what one commit changed in one message.
  const isHeld = due.some(({ prompt, unacknowledged }) => prompt && unacknowledged > 0)
  const now: Array<S> = []
  const waiting: Array<S> = []
  for (const one of due) {
    if (one.unacknowledged === 0 && !(isHeld && one.prompt)) now.push(one)
    else waiting.push(one)
  }
  return { now, waiting }
}

/**
 * The first and the last commit whose sender waits to hear that everything up to it was delivered to its socket; 0 and 0
 * when none does.
 */
export type AwaitedCommits = readonly [first: number, last: number]

/** No commit is waited for. */
export const nothingAwaited: AwaitedCommits = [0, 0]

/** A commit is waited for from now on. */
export const awaitCommit = ([first]: AwaitedCommits, version: number): AwaitedCommits => [first || version, version]

/**
 * What a socket is told about the commits that it waits for, given the version that all its live queries have been sent:
 * that version, or nothing when none of the commits is in it yet; and what it waits for then.
 */
export const delivered = (
  awaited: AwaitedCommits,
  version: number
): { readonly tell: boolean; readonly awaited: AwaitedCommits } => {
  const [first, last] = awaited
  if (first === 0 || version < first) return { tell: false, awaited }
  return { tell: true, awaited: version < last ? [version + 1, last] : nothingAwaited }
}
