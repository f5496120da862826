/**
 * Work after the current turn of a Durable Object. `waitUntil` keeps the object awake for it.
 */
/// <reference types="@cloudflare/workers-types" />
import type { Background } from "../../services/Background.ts"

/** What is used of a Durable Object's state. */
export interface BackgroundState {
  readonly waitUntil: (work: Promise<unknown>) => void
}

/** The background of one object. */
export const make = (state: BackgroundState): Background["Service"] => ({
  // A timer of no delay runs after the commit of this turn was written.
  defer: (task) => state.waitUntil(scheduler.wait(0).then(task)),
  waitUntil: (work) => state.waitUntil(work)
})
