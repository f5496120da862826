/**
 * The frames that clients promised to acknowledge on arrival and have not acknowledged. One that stays so is lost or held
 * up: nothing else would tell its client, which shows an old value as the current one.
 */

/** Milliseconds for the acknowledgement of a frame. A client gives up a connection without any message after 30 s, too. */
export const ackTimeout = 30_000

/** How the deadlines are kept. */
export interface AckDeadlinesOptions<S> {
  readonly now: () => number
  /** Runs a task when the object is idle, before it can hibernate. */
  readonly whenIdle: (task: () => void) => void
  /** Runs a task after some milliseconds. Returns what cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  /** The client of this subscription has not acknowledged a frame in time. */
  readonly onMissed: (subscription: S) => void
}

/**
 * The deadlines of an object. There is one timer while a frame is not acknowledged, and none otherwise. It is set when the
 * object is idle: by then nearly every frame is acknowledged, and a timer for each would cost more than the frame.
 */
export class AckDeadlines<S> {
  private readonly options: AckDeadlinesOptions<S>
  /** The deadlines, the earliest first: each is added with the same delay. */
  private readonly deadlines = new Map<S, number>()
  private cancel: (() => void) | undefined

  constructor(options: AckDeadlinesOptions<S>) {
    this.options = options
  }

  /** A frame was sent, or one of several messages of a frame was acknowledged: the time starts now. */
  start(subscription: S): void {
    this.deadlines.delete(subscription)
    this.deadlines.set(subscription, this.options.now() + ackTimeout)
    if (this.cancel === undefined) this.options.whenIdle(this.arm)
  }

  /** Everything was acknowledged, or the subscription has ended. */
  end(subscription: S): void {
    if (!this.deadlines.delete(subscription) || this.deadlines.size > 0) return
    this.cancel?.()
    this.cancel = undefined
  }

  private readonly check = (): void => {
    const now = this.options.now()
    const missed: Array<S> = []
    for (const [subscription, deadline] of this.deadlines) {
      if (deadline > now) break
      this.deadlines.delete(subscription)
      missed.push(subscription)
    }
    this.cancel = undefined
    this.arm()
    for (const subscription of missed) this.options.onMissed(subscription)
  }

  /** Sets the timer for the earliest deadline. */
  private readonly arm = (): void => {
    const [next] = this.deadlines.values()
    if (next !== undefined) this.cancel ??= this.options.after(next - this.options.now(), this.check)
  }
}
