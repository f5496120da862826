/**
 * What handlers do with workflows that Effect's own functions do not: start one in a transaction, and read executions in a query.
 * All else is Effect's: `Workflow.execute`, `poll`, `interrupt` and `resume`, and `DurableDeferred.succeed`.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Workflow from "effect/workflow/Workflow"
import { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import { type Execution, type ExecutionFilter, Executions, ExecutionsWriter } from "./Executions.ts"

export { Execution, ExecutionFilter, ExecutionId, ExecutionState } from "./Executions.ts"

/**
 * The id of the execution of a payload, as `Workflow.executionId` computes it: 32 digits of the SHA-256 of the workflow's name and
 * of its idempotency key. That one waits for the platform's digest, which a transaction cannot.
 */
export const executionId = <Tag extends string, Payload extends Workflow.AnyStructSchema>(
  workflow: Workflow.Workflow<Tag, Payload, any, any>,
  payload: Payload["~type.make.in"]
): string => idOf(workflow, workflow.payloadSchema.make(payload))

const idOf = ({ _tag, idempotencyKey }: Workflow.Any, payload: unknown): string =>
  bytesToHex(sha256(utf8ToBytes(`${_tag.length}:${_tag}:${idempotencyKey(payload)}`))).slice(0, 32)

/**
 * Starts an execution in a mutation, with its commit, or in an action, and returns its id. It runs in the name of the caller. One
 * that was started before, as the idempotency key says, is not started again.
 */
export const start = <
  Tag extends string,
  Payload extends Workflow.AnyStructSchema,
  Success extends Schema.Top,
  Error extends Schema.Top
>(
  workflow: Workflow.Workflow<Tag, Payload, Success, Error>,
  payload: Payload["~type.make.in"]
): Effect.Effect<string, never, WorkflowEngine | Payload["EncodingServices"]> =>
  Effect.gen(function* () {
    const made = workflow.payloadSchema.make(payload)
    const engine = yield* WorkflowEngine
    const options = { executionId: idOf(workflow, made), payload: made, discard: true } as const
    // Without its result nothing is decoded.
    return yield* engine.execute(workflow, options) as Effect.Effect<string, never, Payload["EncodingServices"]>
  })

/**
 * The result of an execution, as `Workflow.poll` of an action and a mutation: none while it runs, `Suspended` while it waits, and
 * `Complete` with its exit. A live query that reads it runs again when it changes.
 */
export const poll = <
  Tag extends string,
  Payload extends Workflow.AnyStructSchema,
  Success extends Schema.Top,
  Error extends Schema.Top
>(
  workflow: Workflow.Workflow<Tag, Payload, Success, Error>,
  executionId: string
): Effect.Effect<
  Option.Option<Workflow.Result<Success["Type"], Error["Type"]>>,
  never,
  Executions | Success["DecodingServices"] | Error["DecodingServices"]
> =>
  Effect.gen(function* () {
    const { result } = yield* Executions
    const json = yield* result(executionId)
    if (json === undefined) return Option.none()
    const { errorSchema, successSchema } = workflow
    const codec = Schema.toCodecJson(Workflow.Result({ success: successSchema, error: errorSchema }))
    return Option.some(yield* Effect.orDie(Schema.decodeUnknownEffect(codec)(json)))
  })

/** One execution, with its state. */
export const get = (id: string): Effect.Effect<Option.Option<Execution>, never, Executions> =>
  Effect.flatMap(Executions, ({ get }) => Effect.map(get(id), Option.fromUndefinedOr))

/** Executions, those first that were started first: those that are not done, unless a state is given. */
export const list = (filter?: ExecutionFilter): Effect.Effect<ReadonlyArray<Execution>, never, Executions> =>
  Effect.flatMap(Executions, ({ list }) => list(filter))

/**
 * Asks an execution to end. When it next waits, or at once if it does, what it has done is compensated, and its result is an
 * interruption. Returns whether it had not ended.
 */
export const interrupt = (id: string): Effect.Effect<boolean, never, ExecutionsWriter> =>
  Effect.flatMap(ExecutionsWriter, ({ interrupt }) => interrupt(id))

/** Runs an execution again that is suspended, or whose runs were given up. Returns whether it had not ended. */
export const resume = (id: string): Effect.Effect<boolean, never, ExecutionsWriter> =>
  Effect.flatMap(ExecutionsWriter, ({ resume }) => resume(id))

/**
 * Deletes an execution and its result. Nothing is compensated. It can be started again with the same key. Returns whether there was
 * one.
 */
export const discard = (id: string): Effect.Effect<boolean, never, ExecutionsWriter> =>
  Effect.flatMap(ExecutionsWriter, ({ discard }) => discard(id))
