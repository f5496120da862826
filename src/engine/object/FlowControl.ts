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
 * The first and the last commit for which a `Delivered` message is still to be sent to the socket; 0 and 0 when there is
 * none.
 */
export type AwaitedCommits = readonly [first: number, last: number]

/** No commit is waited for. */
export const nothingAwaited: AwaitedCommits = [0, 0]

/** A commit is waited for from now on. */
export const awaitCommit = ([first]: AwaitedCommits, version: number): AwaitedCommits => [first || version, version]

/**
 * Whether to send `Delivered` with `version`, up to which all live queries of the socket have been sent their results: only
 * when it contains an awaited commit. Also returns the commits that are awaited afterwards.
 */
export const delivered = (
  awaited: AwaitedCommits,
  version: number
): { readonly tell: boolean; readonly awaited: AwaitedCommits } => {
  const [first, last] = awaited
  if (first === 0 || version < first) return { tell: false, awaited }
  return { tell: true, awaited: version < last ? [version + 1, last] : nothingAwaited }
}
