/**
 * The `Background` port in memory: each task runs in a later turn of the event loop, as it does on the platform.
 * A test can wait until no work is pending, and passes the time of timers.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Background } from "../../services/Background.ts"

/** The background of one heap. Tasks that are pending when it is stopped do not run. */
export class MemoryBackground {
  /** The port. */
  readonly service: Background["Service"]
  private readonly pending = new Set<Promise<void>>()
  private readonly idleTasks = new Set<() => void>()
  private readonly timers = new Set<() => void>()
  private isStopped = false

  /** `clock` is that of the timers. `run` runs a task; a caller can do more before and after it. */
  constructor(clock: Clock.Clock, run: (task: () => void) => void = (task) => task()) {
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
      // Not pending work: a test evicts the object when it likes.
      after: (millis, task) => {
        const fiber = Effect.runFork(
          Effect.andThen(
            clock.sleep(Duration.millis(millis)),
            Effect.sync(() => {
              this.timers.delete(cancel)
              run(task)
            })
          )
        )
        const cancel = () => {
          this.timers.delete(cancel)
          fiber.interruptUnsafe()
        }
        this.timers.add(cancel)
        return cancel
      },
      waitUntil: (work) => this.waitUntil(work)
    }
  }

  /** Whether work is pending. */
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
    for (const cancel of [...this.timers]) cancel()
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
