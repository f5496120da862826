/// <reference types="@cloudflare/workers-types" />

/**
 * Group commit: tasks that arrive while one runs wait for the next turn, and are run together there. The platform
 * commits what one turn wrote at once.
 */
export class GroupCommit {
  readonly #ctx: DurableObjectState
  readonly #afterGroup: () => void
  #waiting: Array<() => void> = []
  #isBusy = false

  constructor(ctx: DurableObjectState, afterGroup: () => void = () => {}) {
    this.#ctx = ctx
    this.#afterGroup = afterGroup
  }

  schedule(task: () => void): void {
    if (this.#isBusy) {
      this.#waiting.push(task)
      return
    }
    this.#isBusy = true
    this.#run([task])
  }

  #run(tasks: ReadonlyArray<() => void>): void {
    for (const task of tasks) task()
    this.#afterGroup()
    this.#ctx.waitUntil(scheduler.wait(0).then(() => this.#next()))
  }

  #next(): void {
    const tasks = this.#waiting
    this.#waiting = []
    if (tasks.length === 0) this.#isBusy = false
    else this.#run(tasks)
  }
}
