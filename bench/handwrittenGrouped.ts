/// <reference types="@cloudflare/workers-types" />

/**
 * The hand-written worker with group commit: messages that arrive while one is handled wait for the next turn, are
 * handled together there and share one commit to disk and one broadcast for each topic.
 */
import { GroupCommit } from "./groupCommit.ts"
import { TenantObject as Inner } from "./handwritten.ts"

export { default } from "./handwritten.ts"

export class TenantObject extends Inner {
  readonly #topics = new Set<string>()
  readonly #group = new GroupCommit(this.ctx, () => {
    for (const topic of this.#topics) this.broadcast(topic)
    this.#topics.clear()
  })

  protected override schedule(task: () => void): void {
    this.#group.schedule(task)
  }

  protected override changed(topic: string): void {
    this.#topics.add(topic)
  }
}
