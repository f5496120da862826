/**
 * The rpcs by which an action reads and writes the workflows of its tenant: the Worker calls them in the object.
 * No client can: their tags are reserved.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Api from "../../contract/Api.ts"
import type { Calls } from "../../contract/CallsTag.ts"
import { ExecutionId } from "../../contract/Executions.ts"
import * as Mutation from "../../contract/Mutation.ts"
import type { CallError } from "../../protocol/CallError.ts"
import { clockTag, type TransactionWorkflows } from "./TransactionWorkflows.ts"
import { Begun, Clock, Ended, type RunStore, Started, Step } from "./WorkflowStore.ts"

/** The workflows of the transaction that an effect runs in. */
export class CurrentWorkflows extends Context.Service<CurrentWorkflows, TransactionWorkflows>()(
  "effect-dormouse/services/workflows/CurrentWorkflows"
) {}

const Id = { id: ExecutionId }
/** Results are objects: null is none. */
const json = Schema.NullOr(Schema.Json)

/** What an action does with workflows. */
export class WorkflowsApi extends Api.make(
  Mutation.make("~workflow.start", { payload: Started, success: json }),
  Mutation.make("~workflow.result", { payload: Id, success: json }),
  Mutation.make("~workflow.interrupt", { payload: { ...Id, isUnsafe: Schema.Boolean }, success: Schema.Boolean }),
  Mutation.make("~workflow.resume", { payload: Id, success: Schema.Boolean }),
  Mutation.make("~workflow.complete", { payload: Step, success: Schema.Json }),
  Mutation.make("~workflow.setClock", { payload: Clock }),
  Mutation.make(clockTag, { payload: { ...Id, deferred: Schema.String } }),
  Mutation.make("~workflow.begin", { payload: Id, success: Schema.NullOr(Begun) }),
  Mutation.make("~workflow.step", { payload: { ...Id, name: Schema.String }, success: json }),
  Mutation.make("~workflow.record", { payload: Step, success: json }),
  Mutation.make("~workflow.end", { payload: Ended })
) {}

const orNull = <A>(value: Effect.Effect<A | undefined>): Effect.Effect<A | null> =>
  Effect.map(value, (value) => value ?? null)

const orUndefined = <A>(value: Effect.Effect<A | null, CallError>): Effect.Effect<A | undefined, CallError> =>
  Effect.map(value, (value) => value ?? undefined)

const within = <A>(body: (workflows: TransactionWorkflows) => Effect.Effect<A>) =>
  Effect.flatMap(CurrentWorkflows, body)

/** The handlers, for the object. */
export const handlers: Layer.Layer<never, never, any> = WorkflowsApi.toLayer({
  "~workflow.start": (started) => within(({ start }) => orNull(start(started))),
  "~workflow.result": ({ id }) => within(({ result }) => orNull(result(id))),
  "~workflow.interrupt": ({ id, isUnsafe }) => within(({ interrupt }) => interrupt(id, isUnsafe)),
  "~workflow.resume": ({ id }) => within(({ resume }) => resume(id)),
  "~workflow.complete": (step) => within(({ complete }) => complete(step)),
  "~workflow.setClock": (clock) => within(({ setClock }) => setClock(clock)),
  [clockTag]: ({ deferred, id }) => within(({ tick }) => tick(id, deferred)),
  "~workflow.begin": ({ id }) => within(({ begin }) => orNull(begin(id))),
  "~workflow.step": ({ id, name }) => within(({ step }) => orNull(step(id, name))),
  "~workflow.record": (step) => within(({ record }) => orNull(record(step))),
  "~workflow.end": (ended) => within(({ end }) => end(ended))
})

/** The workflows as an action reads and writes them: each operation is a transaction of its own in the object. */
export const storeOver = ({ call }: Calls["Service"]): RunStore => ({
  start: (started) => orUndefined(call("~workflow.start", started)),
  result: (id) => orUndefined(call("~workflow.result", { id })),
  interrupt: (id, isUnsafe) => call("~workflow.interrupt", { id, isUnsafe }),
  resume: (id) => call("~workflow.resume", { id }),
  complete: (step) => call("~workflow.complete", step),
  setClock: (clock) => call("~workflow.setClock", clock),
  begin: (id) => orUndefined(call("~workflow.begin", { id })),
  step: (id, name) => orUndefined(call("~workflow.step", { id, name })),
  record: (step) => orUndefined(call("~workflow.record", step)),
  end: (ended) => call("~workflow.end", ended)
})
