/**
 * The port for work after the current turn: what a platform must supply so that work is done before the object can sleep.
 */
import * as Context from "effect/Context"

export class Background extends Context.Service<
  Background,
  {
    /** Runs the task in a later turn. What the current turn committed is on its way to disk by then. */
    readonly defer: (task: () => void) => void
    /** Keeps the object awake until the promise is settled. */
    readonly waitUntil: (work: Promise<unknown>) => void
  }
>()("effect-dormouse/services/Background") {}
