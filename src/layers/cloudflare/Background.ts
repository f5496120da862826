/**
 * The `Background` port of a Durable Object: tasks run in a later turn.
 * `waitUntil` keeps the object awake until they are done.
 */
/// <reference types="@cloudflare/workers-types" />
import type { Background } from "../../services/Background.ts"

/** The part of a Durable Object's state that is used here. */
export interface BackgroundState {
  readonly waitUntil: (work: Promise<unknown>) => void
}

/** The background of a Durable Object. */
export const make = (state: BackgroundState): Background["Service"] => ({
  // A timer with no delay fires after the writes of the current turn have been committed.
  defer: (task) => state.waitUntil(scheduler.wait(0).then(task)),
  waitUntil: (work) => state.waitUntil(work)
})
