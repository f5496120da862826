/**
 * Work after the current turn, in memory: each task runs in a later turn of the event loop, as it does on the platform.
 */
import type { Background } from "../../services/Background.ts"

/** The background of one heap. What it still has to do when it is stopped is dropped. */
export class MemoryBackground {
  readonly service: Background["Service"]
  private readonly works = new Set<Promise<void>>()
  private isStopped = false

  /** `run` runs a task, for who has to do something before and after it. */
  constructor(run: (task: () => void) => void = (task) => task()) {
    this.service = {
      defer: (task) =>
        this.waitUntil(
          nextTurn().then(() => {
            if (!this.isStopped) run(task)
          })
        ),
      waitUntil: (work) => this.waitUntil(work)
    }
  }

  /** Whether something is still to be done. */
  get isBusy(): boolean {
    return this.works.size > 0
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    while (this.isBusy) await Promise.all(this.works)
  }

  /** Nothing more is done. */
  stop(): void {
    this.isStopped = true
  }

  private waitUntil(work: Promise<unknown>): void {
    const ended: Promise<void> = work.then(
      () => void this.works.delete(ended),
      () => void this.works.delete(ended)
    )
    this.works.add(ended)
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
