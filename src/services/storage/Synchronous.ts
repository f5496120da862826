/**
 * Runs an effect to its end before returning, or not at all.
 * A transaction cannot wait: the platform would commit it half done, and another call would see its rows.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"

/** The defect of an effect that had to run in one go and did not. */
export class Suspended extends Error {
  override readonly name = "Suspended"
  /** What waited. */
  readonly what: "handler" | "middleware"

  constructor(what: "handler" | "middleware") {
    super(`the ${what} waited for something, and a transaction cannot wait`)
    this.what = what
  }
}

/** Runs an effect now. One that waits for something is interrupted and gives a `Suspended` defect. */
export const runSyncOrDie = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  context: Context.Context<R>,
  what: Suspended["what"] = "handler"
): Exit.Exit<A, E> => {
  // What has ended already needs no fiber.
  if (hasEnded(effect)) return Effect.runSyncExitWith(context)(effect)
  const fiber = Effect.runForkWith(context)(effect, { scheduler: new Scheduler.MixedScheduler("sync") })
  let exit = fiber.pollUnsafe()
  if (exit !== undefined) return exit
  fiber.currentDispatcher.flush()
  exit = fiber.pollUnsafe()
  if (exit !== undefined) return exit
  fiber.interruptUnsafe()
  fiber.currentDispatcher.flush()
  return Exit.die(new Suspended(what))
}

const hasEnded = (effect: Effect.Effect<any, any, any>): boolean => Exit.isExit(effect)
