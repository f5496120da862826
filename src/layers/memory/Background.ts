/**
 * The `Background` port in memory: each task runs in a later turn of the event loop, as it does on the platform.
 * A test can wait until no work is pending, and passes the time of timers.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Background } from "../../services/Background.ts"

/** The background of one heap. Tasks that are pending when it is stopped do not run. */
export class MemoryBackground {
  /** The port. */
  readonly service: Background["Service"]
  private readonly pending = new Set<Promise<void>>()
  private readonly idleTasks = new Set<() => void>()
  private readonly timers = new Set<Fiber.Fiber<void>>()
  private isStopped = false

  /** Timers run by the clock in `context`. `run` runs a task; a caller can do more before and after it. */
  constructor(context: Context.Context<never> = Context.empty(), run: (task: () => void) => void = (task) => task()) {
    const defer = (task: () => void) =>
      this.waitUntil(
        nextTurn().then(() => {
          if (!this.isStopped) run(task)
        })
      )
    this.service = {
      defer,
      whenIdle: (task) => {
        if (this.idleTasks.has(task)) return
        this.idleTasks.add(task)
        defer(() => {
          this.idleTasks.delete(task)
          task()
        })
      },
      after: (millis, task) => {
        const timer = Effect.runForkWith(context)(
          Effect.andThen(
            Effect.sleep(millis),
            Effect.sync(() => run(task))
          )
        )
        this.timers.add(timer)
        timer.addObserver(() => this.timers.delete(timer))
        return () => timer.interruptUnsafe()
      },
      waitUntil: (work) => this.waitUntil(work)
    }
  }

  /** Whether work is pending. A timer is none. */
  get isBusy(): boolean {
    return this.pending.size > 0
  }

  /** Resolves when no work is pending. */
  async idle(): Promise<void> {
    while (this.isBusy) await Promise.all(this.pending)
  }

  /** Runs no further task. */
  stop(): void {
    this.isStopped = true
    for (const timer of this.timers) timer.interruptUnsafe()
  }

  private waitUntil(work: Promise<unknown>): void {
    const ended: Promise<void> = work.then(
      () => void this.pending.delete(ended),
      () => void this.pending.delete(ended)
    )
    this.pending.add(ended)
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
