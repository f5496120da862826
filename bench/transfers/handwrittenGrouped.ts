/// <reference types="@cloudflare/workers-types" />

/** The hand-written transfers with group commit. */
import { GroupCommit } from "../groupCommit.ts"
import { TenantObject as Inner } from "./handwritten.ts"

export { default } from "./handwritten.ts"

export class TenantObject extends Inner {
  readonly #group = new GroupCommit(this.ctx)

  protected override schedule(task: () => void): void {
    this.#group.schedule(task)
  }
}
