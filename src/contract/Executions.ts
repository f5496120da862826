/**
 * The executions of workflows, as authors and operators see them, and the services that read and steer them.
 * Apart from `Workflows.ts`, because the kinds name these services, and `Workflows.ts` needs Effect's modules of workflows.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Identity } from "./Auth.ts"
import { FailureReason } from "./Outbox.ts"

/** The id of an execution: Effect's digest of the name of its workflow and of its idempotency key. */
export const ExecutionId = Schema.String

/**
 * Where an execution is. `running`: its code runs, or will at once. `suspended`: it waits, and is rows and nothing else.
 * `failed`: its runs were given up, see `reason`; it waits to be resumed. `done`: it has a result.
 */
export const ExecutionState = Schema.Literals(["running", "suspended", "failed", "done"])
/** Where an execution is. */
export type ExecutionState = typeof ExecutionState.Type

/** An execution of a workflow. */
export class Execution extends Schema.Class<Execution>("effect-dormouse/Workflows/Execution")({
  id: ExecutionId,
  /** The name of the workflow. */
  workflow: Schema.String,
  state: ExecutionState,
  payload: Schema.Json,
  /** In whose name its activities call. */
  caller: Identity,
  /** Whether it was asked to end. */
  isInterrupted: Schema.Boolean,
  startedAt: Schema.DateTimeUtcFromMillis,
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromMillis),
  /** How often its code was begun: at first, after each wait, and after each crash. */
  runs: Schema.Int,
  /** The activities that have a result. Those of an execution that is done were deleted. */
  activities: Schema.Int,
  /** Why its runs were given up. */
  reason: Schema.NullOr(FailureReason)
}) {}

/** Which executions to list. */
export const ExecutionFilter = Schema.Struct({
  state: Schema.optionalKey(ExecutionState),
  /** The name of a workflow. */
  workflow: Schema.optionalKey(Schema.String),
  /** Those that were started after this one. */
  after: Schema.optionalKey(ExecutionId),
  /** At most so many, 100 unless given. */
  take: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
})
/** Which executions to list. */
export type ExecutionFilter = typeof ExecutionFilter.Type

/** Reads executions. Queries and mutations have it; a live query runs again when what it read changes. */
export class Executions extends Context.Service<
  Executions,
  {
    /** One execution. */
    readonly get: (id: string) => Effect.Effect<Execution | undefined>
    /** Executions, those first that were started first. */
    readonly list: (filter?: ExecutionFilter) => Effect.Effect<ReadonlyArray<Execution>>
    /** The JSON of the result of an execution that is suspended or done. */
    readonly result: (id: string) => Effect.Effect<Schema.Json | undefined>
  }
>()("effect-dormouse/Executions") {}

/** Steers executions whose workflow is not at hand. Mutations have it. Each answers whether there was anything to do. */
export class ExecutionsWriter extends Context.Service<
  ExecutionsWriter,
  {
    /** Asks an execution to end: it runs its compensations, and its result is an interruption. */
    readonly interrupt: (id: string) => Effect.Effect<boolean>
    /** Runs an execution now that is suspended or failed. */
    readonly resume: (id: string) => Effect.Effect<boolean>
    /** Deletes an execution with all that is known of it. What it has done stays, and nothing is compensated. */
    readonly discard: (id: string) => Effect.Effect<boolean>
  }
>()("effect-dormouse/ExecutionsWriter") {}
