/**
 * Runs executions in the Worker: a queue whose messages are runs, and the workflows that the author's layers register.
 * Runs of one execution follow each other, because they have its id as their key.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeUnsafe, WorkflowEngine } from "effect/workflow/WorkflowEngine"
import { ExecutionId } from "../../contract/Executions.ts"
import * as Queue from "../../contract/Queue.ts"
import { runQueue } from "./TransactionWorkflows.ts"
import { type Registered, type RunHost, runExecution } from "./WorkflowRun.ts"

/** What the action that runs an execution has for it. */
export class CurrentRunHost extends Context.Service<CurrentRunHost, RunHost>()(
  "effect-dormouse/services/workflows/CurrentRunHost"
) {}

/** The workflows of an app, by name. */
class Workflows extends Context.Service<Workflows, ReadonlyMap<string, Registered>>()(
  "effect-dormouse/services/workflows/Workflows"
) {}

/** How runs are handled. */
export type RunOptions = Pick<Queue.QueueOptions, "concurrency" | "timeout" | "retry" | "maxAttempts">

const notHere = (what: string) => () => Effect.die(new Error(`a layer of a workflow cannot ${what} while it is built`))

/** Builds the layers of workflows, and collects what they register. Dies when two have the same name. */
const registered = (layers: ReadonlyArray<Layer.Layer<never, never, any>>): Layer.Layer<Workflows, never, any> =>
  Layer.effect(
    Workflows,
    Effect.gen(function* () {
      const workflows = new Map<string, Registered>()
      const engine = makeUnsafe({
        register: (workflow, execute) =>
          Effect.sync(() => {
            if (workflows.has(workflow._tag)) throw new Error(`two workflows are named ${workflow._tag}`)
            workflows.set(workflow._tag, { workflow, execute })
          }),
        execute: notHere("start an execution"),
        poll: notHere("read an execution"),
        interrupt: notHere("interrupt an execution"),
        interruptUnsafe: notHere("interrupt an execution"),
        resume: notHere("resume an execution"),
        activityExecute: notHere("run an activity"),
        deferredResult: notHere("wait for a deferred"),
        deferredDone: notHere("complete a deferred"),
        scheduleClock: notHere("sleep")
      })
      for (const layer of layers) yield* Layer.build(Layer.provide(layer, Layer.succeed(WorkflowEngine, engine)))
      return workflows
    })
  )

/** The consumer of the queue of runs. What the layers require, the app provides to its actions. */
export const runner = (
  layers: ReadonlyArray<Layer.Layer<never, never, any>>,
  options: RunOptions
): Queue.Consumer<never> => {
  const runs = Queue.make(runQueue, { ...options, payload: { id: ExecutionId } })
  const consumer = runs.toLayer(({ id }) =>
    Effect.gen(function* () {
      yield* runExecution(yield* CurrentRunHost, yield* Workflows, id)
    }).pipe(Effect.catchTag("Unrunnable", ({ message }) => Effect.fail(new Queue.Reject({ reason: message }))))
  )
  return { ...consumer, layer: Layer.provide(consumer.layer, registered(layers)) as Layer.Layer<never> }
}
