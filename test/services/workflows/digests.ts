/// <reference types="node" />
import { vi } from "vitest"
import { turns } from "../../deployment/memory.ts"

/**
 * Effect computes the ids of child executions with the platform's digest, which takes real time. Returns what waits until none is
 * under way any more: virtual time must not pass meanwhile.
 */
export const watchDigests = (): (() => Promise<void>) => {
  const pending = new Set<Promise<unknown>>()
  const { subtle } = crypto
  const digest = subtle.digest.bind(subtle)
  vi.spyOn(subtle, "digest").mockImplementation((...call) => {
    const made = digest(...call)
    pending.add(made)
    void made.finally(() => pending.delete(made))
    return made
  })
  return async () => {
    while (pending.size > 0) {
      await Promise.allSettled(pending)
      await turns()
    }
  }
}
