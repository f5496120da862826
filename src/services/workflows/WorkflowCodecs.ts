/**
 * The JSON of what executions store: payloads, results, and the exits of steps.
 * A defect is stored with its name and message, as Effect's `Schema.Defect` does it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Workflow from "effect/workflow/Workflow"
import { type AnyCodec, jsonCodec, untyped } from "../../protocol/JsonCodec.ts"
import * as Limits from "../../protocol/Limits.ts"

const AnyValue = Schema.Union([Schema.Undefined, Schema.Any])

/** The exits of activities: their values are encoded already, their defects are not. */
const activityExit = Schema.toCodecJson(Schema.Exit(AnyValue, AnyValue, Schema.Defect()))
/** The exits of deferreds, all of which is encoded already. */
const deferredExit = Schema.toCodecJson(Schema.Exit(AnyValue, AnyValue, Schema.Any))

/** The codec of a workflow's payload. */
export const payloadCodec: (workflow: Workflow.Any) => AnyCodec = memoize(({ payloadSchema }: Workflow.Any) =>
  jsonCodec(payloadSchema)
)

const resultCodec: (workflow: Workflow.Any) => AnyCodec = memoize(({ errorSchema, successSchema }: Workflow.Any) =>
  jsonCodec(untyped(Workflow.Result({ success: successSchema, error: errorSchema })))
)

/** The same JSON as it comes back from a row. */
const jsonOf = (encoded: unknown): Schema.Json => JSON.parse(JSON.stringify(encoded ?? null))

/** The JSON of an exit, or that of a defect when it cannot be stored. */
const storable = (what: string, encoded: Effect.Effect<unknown, Schema.SchemaError>): Effect.Effect<Schema.Json> =>
  Effect.flatMap(Effect.exit(encoded), (exit) => {
    if (Exit.isFailure(exit)) return diedWith(`${what} does not fit its schema: ${Cause.pretty(exit.cause)}`)
    const json = jsonOf(exit.value)
    const actual = Limits.bytesBeyond(JSON.stringify(json), Limits.storedBytes)
    return actual === undefined
      ? Effect.succeed(json)
      : diedWith(`${what} is too large: ${Limits.describe("rowBytes", Limits.storedBytes, actual)}`)
  })

const diedWith = (message: string): Effect.Effect<Schema.Json> =>
  Effect.map(Effect.orDie(Schema.encodeUnknownEffect(activityExit)(Exit.die(new Error(message)))), jsonOf)

/** The JSON of a payload. One that is too large is a defect. */
export const encodePayload = (workflow: Workflow.Any, payload: unknown): Effect.Effect<Schema.Json> =>
  Effect.flatMap(Effect.orDie(Schema.encodeUnknownEffect(payloadCodec(workflow))(payload)), (encoded) => {
    const json = jsonOf(encoded)
    const actual = Limits.bytesBeyond(JSON.stringify(json), Limits.storedBytes)
    if (actual === undefined) return Effect.succeed(json)
    return Effect.die(new Error(`the payload: ${Limits.describe("rowBytes", Limits.storedBytes, actual)}`))
  })

/** The JSON of an activity's exit. */
export const encodeActivity = (name: string, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Schema.Json> =>
  storable(`the result of the activity ${name}`, Schema.encodeUnknownEffect(activityExit)(exit))

/** The exit of an activity. */
export const decodeActivity = (json: Schema.Json): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.orDie(Schema.decodeUnknownEffect(activityExit)(json))

/** The JSON of a deferred's exit. */
export const encodeDeferred = (name: string, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Schema.Json> =>
  storable(`the result of the deferred ${name}`, Schema.encodeUnknownEffect(deferredExit)(exit))

/** The exit of a deferred. */
export const decodeDeferred = (json: Schema.Json): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.orDie(Schema.decodeUnknownEffect(deferredExit)(json))

/** The JSON of the result of a workflow. A result that cannot be stored becomes a defect. */
export const encodeResult = (
  workflow: Workflow.Any,
  result: Workflow.Result<unknown, unknown>
): Effect.Effect<Schema.Json> =>
  Effect.map(storable("the result", Schema.encodeUnknownEffect(resultCodec(workflow))(result)), (json) => {
    const isResult = typeof json === "object" && json !== null && "_tag" in json
    return isResult && (json["_tag"] === "Complete" || json["_tag"] === "Suspended")
      ? json
      : { _tag: "Complete", exit: json }
  })

/** The result of a workflow. */
export const decodeResult = (
  workflow: Workflow.Any,
  json: Schema.Json | undefined
): Effect.Effect<Option.Option<Workflow.Result<unknown, unknown>>> => {
  if (json === undefined) return Effect.succeedNone
  return Effect.flatMap(Effect.orDie(Schema.decodeUnknownEffect(resultCodec(workflow))(json)), (result) =>
    Workflow.isResult(result) ? Effect.succeedSome(result) : Effect.die(new Error("this is no result"))
  )
}
