/**
 * Effect's `WorkflowEngine` over the rows of workflows, for handlers: it starts, polls and steers executions, and completes their
 * deferreds. What runs inside of an execution is in `WorkflowRun.ts`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Workflow from "effect/workflow/Workflow"
import { type Encoded, makeUnsafe, type WorkflowEngine } from "effect/workflow/WorkflowEngine"
import type { CallError } from "../../protocol/CallError.ts"
import { decodeResult, encodeDeferred, encodePayload } from "./WorkflowCodecs.ts"
import type { WorkflowStore } from "./WorkflowStore.ts"

/** Runs an operation of the store. The interface of an engine has no place for its failure. */
export type Attempt = <A>(operation: Effect.Effect<A, CallError>) => Effect.Effect<A>

/** The operations of an engine that are the same inside and outside of an execution. */
export const operations = (
  store: WorkflowStore,
  attempt: Attempt
): Omit<Encoded, "register" | "activityExecute" | "deferredResult" | "awaitComplete"> => ({
  execute: (workflow, { detached = false, discard, executionId, parent, payload }) =>
    Effect.gen(function* () {
      const json = yield* encodePayload(workflow, payload)
      const link = parent && { parent: { id: parent.executionId, waits: !detached } }
      const result = yield* attempt(store.start({ id: executionId, workflow: workflow._tag, payload: json, ...link }))
      const decoded = discard ? Option.none() : yield* decodeResult(workflow, result)
      // What waits looks again: an action by its schedule, and another execution when it is woken.
      const ended: any = Option.getOrElse(decoded, () => new Workflow.Suspended({}))
      return ended
    }),
  poll: (workflow, id) => Effect.flatMap(attempt(store.result(id)), (json) => decodeResult(workflow, json)),
  interrupt: (_, id) => Effect.asVoid(attempt(store.interrupt(id, false))),
  interruptUnsafe: (_, id) => Effect.asVoid(attempt(store.interrupt(id, true))),
  resume: (_, id) => Effect.asVoid(attempt(store.resume(id))),
  deferredDone: ({ deferredName, executionId, exit }) =>
    Effect.flatMap(encodeDeferred(deferredName, exit), (json) =>
      Effect.asVoid(attempt(store.complete({ id: executionId, name: deferredName, exit: json })))
    ),
  scheduleClock: (_, { clock, executionId }) => {
    const millis = Duration.toMillis(clock.duration)
    return attempt(
      store.setClock({
        id: executionId,
        name: clock.name,
        deferred: clock.deferred.name,
        millis: Number.isFinite(millis) ? millis : null
      })
    )
  }
})

const outside = (what: string) => Effect.die(new Error(`${what} is possible only while a workflow runs`))

/** The engine of a handler. */
export const storeEngine = (store: WorkflowStore): WorkflowEngine["Service"] =>
  makeUnsafe({
    ...operations(store, Effect.orDie),
    register: () => Effect.die(new Error("workflows are registered by Workflows.make")),
    activityExecute: () => outside("an activity"),
    deferredResult: () => outside("to wait for a deferred")
  })
