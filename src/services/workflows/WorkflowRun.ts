/**
 * One run of an execution, in the Worker: the workflow's code from its begin, over what earlier runs have recorded, until it has a
 * result or waits for something. `WorkflowEngine.layerMemory` of Effect is the model of what a suspension and a request to end do.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as Activity from "effect/workflow/Activity"
import type * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import { makeUnsafe, WorkflowEngine, WorkflowInstance } from "effect/workflow/WorkflowEngine"
import { Calls } from "../../contract/CallsTag.ts"
import { CallError, CallLost } from "../../protocol/CallError.ts"
import { type Attempt, operations } from "./StoreEngine.ts"
import {
  decodeActivity,
  decodeDeferred,
  encodeActivity,
  encodeDeferred,
  encodeResult,
  payloadCodec
} from "./WorkflowCodecs.ts"
import type { Begun, RunStore } from "./WorkflowStore.ts"
import { stepName } from "./WorkflowTables.ts"

/** The code of a workflow, as `toLayer` registers it. */
export interface Registered {
  readonly workflow: Workflow.Any
  readonly execute: (
    payload: object,
    executionId: string
  ) => Effect.Effect<unknown, unknown, WorkflowInstance | WorkflowEngine>
}

/** Why a run cannot begin: no other run of this version of the app can. */
export class Unrunnable extends Schema.TaggedError<Unrunnable>("effect-dormouse/Workflows/Unrunnable")("Unrunnable", {
  message: Schema.String
}) {}

/** A run could not read or write what it needed: another one goes on from what was recorded. */
export class Cut extends Schema.TaggedError<Cut>("effect-dormouse/Workflows/Cut")("Cut", {
  message: Schema.String
}) {}

/** Runs an execution until it ends or waits. Fails when a run must be tried again. */
export const runExecution = Effect.fnUntraced(function* (
  host: RunHost,
  workflows: ReadonlyMap<string, Registered>,
  id: string
) {
  const { store } = host
  const begun = yield* store.begin(id)
  if (begun === undefined) return
  const registered = workflows.get(begun.workflow)
  if (registered === undefined) {
    return yield* new Unrunnable({ message: `the app has no workflow ${begun.workflow}` })
  }
  const { workflow } = registered
  const payload = yield* Effect.mapError(
    Schema.decodeUnknownEffect(payloadCodec(workflow))(begun.payload),
    (error) => new Unrunnable({ message: `the payload does not fit the workflow any more: ${error.message}` })
  )
  const calls = yield* Effect.serviceOption(Calls)
  const run = new Run(host, calls, registered, id, begun)
  const exit = yield* Effect.exit(run.start(payload))
  if (run.lost !== undefined) return yield* new Cut({ message: `the object was lost: ${Cause.pretty(run.lost)}` })
  // An interruption from outside, or a defect of a workflow that does not capture them.
  if (Exit.isFailure(exit)) return yield* exit
  const result = exit.value
  yield* store.end({
    id,
    run: begun.run,
    interrupted: begun.interrupted,
    isDone: result._tag === "Complete",
    isFailed: result._tag === "Suspended" && result.failed === true,
    result: yield* encodeResult(workflow, result)
  })
})

/** What a run needs of the action that it is in. */
export interface RunHost {
  readonly store: RunStore
  /** The services of an action, over calls of its object that a run has changed. */
  readonly servicesOver: (change: (calls: Calls["Service"]) => Calls["Service"]) => Context.Context<never>
}

class Run {
  /** Why the object could not be reached: nothing that follows counts, and a later run does it again. */
  lost: Cause.Cause<unknown> | undefined
  private readonly store: RunStore
  private readonly registered: Registered
  private readonly id: string
  private readonly begun: Begun
  private readonly instance: WorkflowInstance["Service"]
  private readonly steps: Map<string, Schema.Json>
  /** What activities have of the services of actions. */
  private readonly services: Context.Context<never>

  constructor(
    { servicesOver, store }: RunHost,
    calls: Option.Option<Calls["Service"]>,
    registered: Registered,
    id: string,
    begun: Begun
  ) {
    this.store = store
    const own = servicesOver(this.losing)
    this.services = Option.isNone(calls) ? own : Context.add(own, Calls, this.losing(calls.value))
    this.registered = registered
    this.id = id
    this.begun = begun
    this.instance = WorkflowInstance.initial(registered.workflow, id)
    this.steps = new Map(begun.steps.map(({ exit, name }) => [name, exit]))
  }

  /** The workflow's code, from its begin. */
  start(payload: unknown): Effect.Effect<Workflow.Result<unknown, unknown>> {
    const { id, instance, registered } = this
    // The codec of the payload is that of a struct.
    const code = registered.execute(payload as object, id)
    return code.pipe(
      Effect.onExit((exit) => this.beforeResult(exit)),
      Workflow.intoResult,
      Effect.provideService(WorkflowEngine, this.engine),
      Effect.provideService(WorkflowInstance, instance),
      Effect.provideContext(this.services),
      Effect.onExit((exit) => {
        if (Exit.isSuccess(exit) && exit.value._tag === "Complete") return Effect.void
        // The next run registers its finalizers again: those of this one only release what it holds.
        instance.abandoned = true
        return Scope.close(instance.scope, Exit.void)
      })
    )
  }

  /** The code has ended or waits: a request to end takes effect now. */
  private beforeResult(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const { begun, instance, registered } = this
    const isCut = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && !instance.suspended
    // Nobody has asked this execution to end: its Worker does. No compensation may run.
    if (this.lost !== undefined || isCut) instance.abandoned = true
    if (begun.interrupted === 0 || instance.abandoned) return Effect.void
    const suspendsOnFailure = Context.get(registered.workflow.annotations, Workflow.SuspendOnFailure)
    const waits = instance.suspended || (suspendsOnFailure && Exit.isFailure(exit))
    if (begun.interrupted === 1 && !waits) return Effect.void
    instance.interrupted = true
    instance.suspended = false
    return Effect.withFiber((fiber) => Effect.interruptible(Fiber.interrupt(fiber)))
  }

  /** Has the whole run fail when the object cannot be reached: the workflow's code must not take that for its own failure. */
  private readonly attempt: Attempt = (operation) =>
    Effect.suspend(() => {
      if (this.lost !== undefined) return Effect.die(lostMessage)
      return Effect.catchCause(operation, (cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.interrupt : this.lose(cause)
      )
    })

  private lose(cause: Cause.Cause<unknown>): Effect.Effect<never> {
    this.lost ??= cause
    this.instance.abandoned = true
    return Effect.die(lostMessage)
  }

  /**
   * Calls of the object by an activity. One without an answer is no result of the activity either: the activity runs again in a
   * later run.
   */
  private readonly losing = ({ call }: Calls["Service"]): Calls["Service"] => ({
    call: (tag, payload) =>
      Effect.catchCause(call(tag, payload), (cause) => {
        const error = Option.getOrUndefined(Cause.findErrorOption(cause))
        const reason = error instanceof CallError ? error.reason._tag : undefined
        return reason === "Unavailable" || reason === "CallLost" ? this.lose(cause) : Effect.failCause(cause)
      })
  })

  /** The result of a step, if it was recorded before this run began, or by it. */
  private known(name: string): Effect.Effect<Schema.Json | undefined> {
    const step = this.steps.get(name)
    if (step !== undefined || this.begun.isAll) return Effect.succeed(step)
    return this.attempt(this.store.step(this.id, name))
  }

  private readonly activityExecute = (activity: Activity.Any, attempt: number) =>
    Effect.gen({ self: this }, function* () {
      const instance = yield* WorkflowInstance
      const name = stepName.activity(activity.name, attempt)
      const known = yield* this.known(name)
      if (known !== undefined) return new Workflow.Complete({ exit: yield* decodeActivity(known) })
      if (this.lost !== undefined) return yield* Effect.die(lostMessage)
      // A request to end replays to find out what there is to compensate, and does nothing new. Compensations run after that.
      if (this.begun.interrupted > 0 && !instance.interrupted) return new Workflow.Suspended({})
      const own = WorkflowInstance.initial(instance.workflow, instance.executionId)
      own.interrupted = instance.interrupted
      const result = yield* activity.executeEncoded.pipe(
        Workflow.intoResult,
        Effect.provideService(WorkflowInstance, own)
      )
      if (result._tag === "Suspended") return result
      const exit = yield* encodeActivity(activity.name, result.exit)
      const recorded = yield* this.attempt(this.store.record({ id: this.id, name, exit }))
      // The execution has ended meanwhile, or was deleted: another run has overtaken this one.
      if (recorded === undefined) return yield* this.attempt(Effect.fail(overtaken))
      this.steps.set(name, recorded)
      return new Workflow.Complete({ exit: yield* decodeActivity(recorded) })
    })

  private readonly deferredResult = (deferred: DurableDeferred.Any) =>
    Effect.flatMap(this.known(stepName.deferred(deferred.name)), (json) =>
      json === undefined ? Effect.succeedNone : Effect.asSome(decodeDeferred(json))
    )

  private get engine(): WorkflowEngine["Service"] {
    const shared = operations(this.store, this.attempt)
    return makeUnsafe({
      ...shared,
      register: () => Effect.die(new Error("a workflow cannot register another one")),
      activityExecute: this.activityExecute,
      deferredResult: this.deferredResult,
      deferredDone: (options) => {
        const { deferredName: name, executionId: id } = options
        if (id !== this.id) return shared.deferredDone(options)
        const completed = Effect.flatMap(encodeDeferred(name, options.exit), (exit) =>
          this.attempt(this.store.complete({ id, name, exit }))
        )
        return Effect.map(completed, (exit) => void this.steps.set(stepName.deferred(name), exit))
      }
    })
  }
}

const lostMessage = "the object was lost: a later run goes on"

const overtaken = new CallError({ reason: new CallLost({}) })
