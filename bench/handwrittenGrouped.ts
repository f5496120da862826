/// <reference types="@cloudflare/workers-types" />

/**
 * The hand-written worker with group commit: messages that arrive while one is handled wait for the next turn, are
 * handled together there and share one commit to disk and one broadcast for each topic.
 */
import { TenantObject as Inner } from "./handwritten.ts"

export { default } from "./handwritten.ts"

export class TenantObject extends Inner {
  #waiting: Array<() => void> = []
  #isBusy = false
  readonly #topics = new Set<string>()

  protected override schedule(task: () => void): void {
    if (this.#isBusy) {
      this.#waiting.push(task)
      return
    }
    this.#isBusy = true
    this.#run([task])
  }

  protected override changed(topic: string): void {
    this.#topics.add(topic)
  }

  #run(tasks: ReadonlyArray<() => void>): void {
    for (const task of tasks) task()
    for (const topic of this.#topics) this.broadcast(topic)
    this.#topics.clear()
    this.ctx.waitUntil(scheduler.wait(0).then(() => this.#next()))
  }

  #next(): void {
    const tasks = this.#waiting
    this.#waiting = []
    if (tasks.length === 0) this.#isBusy = false
    else this.#run(tasks)
  }
}
