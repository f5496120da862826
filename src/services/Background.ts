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
     * Runs a task when no task was given for a moment, before the object can hibernate. A task that is given again
     * meanwhile runs once.
     */
    readonly whenIdle: (task: () => void) => void
    /** Runs a task after some milliseconds, and keeps the object awake until then. The returned function cancels it. */
    readonly after: (millis: number, task: () => void) => () => void
    /** Keeps the object awake until the promise settles. */
    readonly waitUntil: (work: Promise<unknown>) => void
  }
>()("effect-dormouse/services/Background") {}
