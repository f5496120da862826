/**
 * The `Background` port of a Durable Object: tasks run in a later turn, those that were deferred together in the same one.
 * Timers and `waitUntil` keep the object awake until they are done.
 */
/// <reference types="@cloudflare/workers-types" />
import type { Background } from "../../services/Background.ts"

/** The part of a Durable Object's state that is used here. */
export interface BackgroundState {
  readonly waitUntil: (work: Promise<unknown>) => void
}

/** Milliseconds without a new task after which the object counts as idle. */
const idleAfter = 10
/** How often new tasks can postpone the tasks for an idle object, by `idleAfter` each time. */
const maxPostponements = 10

/** The background of a Durable Object. */
export const make = (state: BackgroundState): Background["Service"] => {
  const runAll = (tasks: Iterable<() => void>) => {
    for (const task of tasks) {
      try {
        task()
      } catch (cause) {
        // The platform logs the rejection. The other tasks still run.
        state.waitUntil(Promise.reject(cause))
      }
    }
  }
  let deferred: Array<() => void> = []
  const runDeferred = () => {
    const tasks = deferred
    deferred = []
    runAll(tasks)
  }
  const idleTasks = new Set<() => void>()
  let postponements = 0
  let isPostponed = false
  const runIdle = () => {
    if (isPostponed && postponements++ < maxPostponements) {
      isPostponed = false
      setTimeout(runIdle, idleAfter)
      return
    }
    const tasks = [...idleTasks]
    idleTasks.clear()
    runAll(tasks)
  }
  return {
    // A timer with no delay fires after the writes of the current turn have been committed.
    defer: (task) => {
      if (deferred.push(task) === 1) setTimeout(runDeferred, 0)
    },
    whenIdle: (task) => {
      isPostponed = idleTasks.size > 0
      if (!isPostponed) {
        postponements = 0
        setTimeout(runIdle, idleAfter)
      }
      idleTasks.add(task)
    },
    after: (millis, task) => {
      const timer = setTimeout(() => runAll([task]), millis)
      return () => clearTimeout(timer)
    },
    waitUntil: (work) => state.waitUntil(work)
  }
}
