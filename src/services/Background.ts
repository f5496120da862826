/**
 * The port for work after the current turn.
 * A platform implements it so that the object stays awake until the work is done.
 */
import * as Context from "effect/Context"

/** Runs work after the current turn, before the object can hibernate. */
export class Background extends Context.Service<
  Background,
  {
    /** Runs a task in a later turn. By then the platform is writing the commit of the current turn to disk. */
    readonly defer: (task: () => void) => void
    /**
     * Runs a task when the object has had nothing to do for a moment, before it can hibernate. A task that is given again
     * meanwhile runs once.
     */
    readonly whenIdle: (task: () => void) => void
    /** Keeps the object awake until the promise settles. */
    readonly waitUntil: (work: Promise<unknown>) => void
  }
>()("effect-dormouse/services/Background") {}
