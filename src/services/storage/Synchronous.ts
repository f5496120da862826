/**
 * Runs an effect synchronously to its end.
 * A transaction must not wait: the platform would commit its first half, and other calls would read it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** The defect of an effect that had to run synchronously and was asynchronous. */
export class Suspended extends Error {
  override readonly name = "Suspended"
  /** What waited. */
  readonly what: "handler" | "middleware"

  constructor(what: "handler" | "middleware") {
    super(`the ${what} waited for something, and a transaction cannot wait`)
    this.what = what
  }
}

/**
 * Gives all fibers of one run the same dispatcher, so that a run can end them all: a request of Effect, such as those of
 * `SqlResolver`, waits for a fiber of its own. A run inside of another one has a dispatcher of its own, and does not run
 * the other's fibers.
 */
class RunScheduler implements Scheduler.Scheduler {
  readonly executionMode = "sync"
  private readonly mixed = new Scheduler.MixedScheduler("sync")
  private run: { dispatcher: Scheduler.SchedulerDispatcher | undefined } | undefined

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return this.mixed.shouldYield(fiber)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    // What a run left behind goes on by itself.
    if (this.run === undefined) return this.mixed.makeDispatcher()
    this.run.dispatcher ??= this.mixed.makeDispatcher()
    return this.run.dispatcher
  }

  /** Runs a body whose fibers share a dispatcher. */
  within<A>(body: () => A): A {
    const outer = this.run
    this.run = { dispatcher: undefined }
    try {
      return body()
    } finally {
      this.run = outer
    }
  }

  /** Runs the tasks of the current run's fibers, and those that they add. */
  flush(): void {
    this.run?.dispatcher?.flush()
  }
}

const scheduler = new RunScheduler()

/**
 * The context with a scheduler that runs fibers to their end. Contexts that are derived from one need no preparation:
 * Effect computes what depends on the scheduler once for all of them.
 */
export const synchronous = <R>(context: Context.Context<R>): Context.Context<R> =>
  Context.get(context, Scheduler.Scheduler) === scheduler
    ? context
    : context.pipe(Context.add(Scheduler.Scheduler, scheduler), Context.add(Scheduler.PreventSchedulerYield, true))

/** Runs an effect now. If it suspends it is interrupted, and the exit is a `Suspended` defect. */
export const runSyncOrDie = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  context: Context.Context<R>,
  what: Suspended["what"] = "handler"
): Exit.Exit<A, E> => {
  // An exit needs no fiber.
  if (isExit(effect)) return Effect.runSyncExitWith(context)(effect)
  return scheduler.within(() => {
    const fiber = Effect.runForkWith(synchronous(context))(effect)
    let exit = fiber.pollUnsafe()
    if (exit !== undefined) return exit
    scheduler.flush()
    exit = fiber.pollUnsafe()
    if (exit !== undefined) return exit
    fiber.interruptUnsafe()
    scheduler.flush()
    return Exit.die(new Suspended(what))
  })
}

const isExit = (effect: Effect.Effect<any, any, any>): boolean => Exit.isExit(effect)
