/**
 * Rpcs for whoever operates an app: its executions, also live, and what to do with those that wait or that were given up.
 * Merge `WorkflowsAdminApi` into the app's contract, and `layer` into its handlers.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Api from "./Api.ts"
import { type Identity, require } from "./Auth.ts"
import { Execution, ExecutionFilter, ExecutionId, Executions, ExecutionsWriter } from "./Executions.ts"
import * as Mutation from "./Mutation.ts"
import * as Query from "./Query.ts"

const Id = { id: ExecutionId }

/** The rpcs of an operator. Each mutation returns whether there was anything to do. */
export class WorkflowsAdminApi extends Api.make(
  /** Executions, those first that were started first: those that are not done, unless a state is given. */
  Query.make("workflows.list", { payload: ExecutionFilter, success: Schema.Array(Execution) }),
  /** One execution. */
  Query.make("workflows.get", { payload: Id, success: Schema.NullOr(Execution) }),
  /** Asks an execution to end: what it has done is compensated. */
  Mutation.make("workflows.interrupt", { payload: Id, success: Schema.Boolean }),
  /** Runs an execution now that is suspended, or whose runs were given up. */
  Mutation.make("workflows.resume", { payload: Id, success: Schema.Boolean }),
  /** Deletes an execution and its result. Nothing is compensated. */
  Mutation.make("workflows.discard", { payload: Id, success: Schema.Boolean })
) {}

/** The handlers. A caller for whom `admin` says no gets `Forbidden`. */
export const layer = (options: { readonly admin: (caller: Identity) => boolean }) => {
  const isAdmin = require(options.admin)
  const read = <A, E, R>(body: (executions: Executions["Service"]) => Effect.Effect<A, E, R>) =>
    Effect.andThen(isAdmin, Effect.flatMap(Executions, body))
  const write = <A, E, R>(body: (executions: ExecutionsWriter["Service"]) => Effect.Effect<A, E, R>) =>
    Effect.andThen(isAdmin, Effect.flatMap(ExecutionsWriter, body))
  return WorkflowsAdminApi.toLayer({
    "workflows.list": (filter) => read(({ list }) => list(filter)),
    "workflows.get": ({ id }) => read(({ get }) => Effect.map(get(id), (execution) => execution ?? null)),
    "workflows.interrupt": ({ id }) => write(({ interrupt }) => interrupt(id)),
    "workflows.resume": ({ id }) => write(({ resume }) => resume(id)),
    "workflows.discard": ({ id }) => write(({ discard }) => discard(id))
  })
}
