/**
 * The port to the rows of workflows: what an engine reads and writes of them. In a transaction it is the tables themselves; in an
 * action each operation is a transaction of its own in the object.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ExecutionId } from "../../contract/Executions.ts"
import type { CallError } from "../../protocol/CallError.ts"

/** An execution to start. */
export const Started = Schema.Struct({
  id: ExecutionId,
  /** The name of the workflow. */
  workflow: Schema.String,
  payload: Schema.Json,
  /** The execution that starts it, and whether it waits for its end. */
  parent: Schema.optionalKey(Schema.Struct({ id: ExecutionId, waits: Schema.Boolean }))
})
/** An execution to start. */
export type Started = typeof Started.Type

/** A step of an execution with its result. */
export const Step = Schema.Struct({ id: ExecutionId, name: Schema.String, exit: Schema.Json })
/** A step of an execution with its result. */
export type Step = typeof Step.Type

/** A clock of an execution. */
export const Clock = Schema.Struct({
  id: ExecutionId,
  name: Schema.String,
  /** The name of its deferred. */
  deferred: Schema.String,
  /** Milliseconds from now on; `null` for a clock that never comes. */
  millis: Schema.NullOr(Schema.Number)
})
/** A clock of an execution. */
export type Clock = typeof Clock.Type

/** A run of an execution that begins. */
export const Begun = Schema.Struct({
  workflow: Schema.String,
  payload: Schema.Json,
  /** Its number, from 1. What a run writes at its end counts only while no later one has begun. */
  run: Schema.Int,
  /** 1 for a request to end that waits for the next suspension, 2 for one that does not. */
  interrupted: Schema.Int,
  /** The results of steps, by name. */
  steps: Schema.Array(Schema.Struct({ name: Schema.String, exit: Schema.Json })),
  /** Whether these are all. */
  isAll: Schema.Boolean
})
/** A run of an execution that begins. */
export type Begun = typeof Begun.Type

/** How a run ended. */
export const Ended = Schema.Struct({
  id: ExecutionId,
  run: Schema.Int,
  /** What it knew of requests to end. */
  interrupted: Schema.Int,
  /** Whether the result is one, or the execution is suspended. */
  isDone: Schema.Boolean,
  /** Whether a failure suspended it: only a request resumes it then. */
  isFailed: Schema.Boolean,
  result: Schema.Json
})
/** How a run ended. */
export type Ended = typeof Ended.Type

/** What an engine reads and writes. */
export interface WorkflowStore {
  /** Starts an execution unless there is one of its id. Returns the result of one that is done. */
  readonly start: (started: Started) => Effect.Effect<Schema.Json | undefined, CallError>
  /** The result of an execution that is suspended or done. */
  readonly result: (id: string) => Effect.Effect<Schema.Json | undefined, CallError>
  readonly interrupt: (id: string, isUnsafe: boolean) => Effect.Effect<boolean, CallError>
  readonly resume: (id: string) => Effect.Effect<boolean, CallError>
  /** Completes a deferred unless it is complete, and wakes its execution. Returns the exit that counts, which is the first. */
  readonly complete: (step: Step) => Effect.Effect<Schema.Json, CallError>
  /** Sets a clock unless it is set. */
  readonly setClock: (clock: Clock) => Effect.Effect<void, CallError>
}

/** What the engine of a run reads and writes besides. */
export interface RunStore extends WorkflowStore {
  /** A run begins. Nothing is returned when there is nothing to run. */
  readonly begin: (id: string) => Effect.Effect<Begun | undefined, CallError>
  /** The result of a step. */
  readonly step: (id: string, name: string) => Effect.Effect<Schema.Json | undefined, CallError>
  /** Records the result of an activity. Returns the one that counts, which is the first; none when the execution has ended. */
  readonly record: (step: Step) => Effect.Effect<Schema.Json | undefined, CallError>
  /** A run has ended. */
  readonly end: (ended: Ended) => Effect.Effect<void, CallError>
}
