/**
 * Rpcs for whoever operates an app: its jobs, messages and crons, also live, and what to do with those that failed.
 * Merge `JobsAdminApi` into the app's contract, and `layer` into its handlers.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Api from "./Api.ts"
import { type Identity, require } from "./Auth.ts"
import { CronState } from "./CronDefinition.ts"
import * as Mutation from "./Mutation.ts"
import { Entry, EntryFilter, EntryId, Outbox, OutboxWriter } from "./Outbox.ts"
import * as Query from "./Query.ts"

/** The rpcs of an operator. Each but the queries returns whether there was such an entry that does not run. */
export class JobsAdminApi extends Api.make(
  /** Jobs and messages, the oldest first: those that failed with `state: "failed"`, else those that have not ended. */
  Query.make("jobs.list", { payload: EntryFilter, success: Schema.Array(Entry) }),
  /** The jobs that repeat, with their last and their next time. */
  Query.make("jobs.crons", { payload: {}, success: Schema.Array(CronState) }),
  /** Tries an entry again, or for the first time, now. */
  Mutation.make("jobs.retry", { payload: { id: EntryId }, success: Schema.Boolean }),
  /** Gives an entry another payload. It is read when the entry is tried the next time. */
  Mutation.make("jobs.edit", { payload: { id: EntryId, payload: Schema.Json }, success: Schema.Boolean }),
  /** Removes an entry. */
  Mutation.make("jobs.discard", { payload: { id: EntryId }, success: Schema.Boolean })
) {}

/** The handlers. A caller for whom `admin` says no gets `Forbidden`. */
export const layer = (options: { readonly admin: (caller: Identity) => boolean }) => {
  const isAdmin = require(options.admin)
  const write = <A, E, R>(body: (outbox: OutboxWriter["Service"]) => Effect.Effect<A, E, R>) =>
    Effect.andThen(isAdmin, Effect.flatMap(OutboxWriter, body))
  return JobsAdminApi.toLayer({
    "jobs.list": (filter) =>
      Effect.andThen(
        isAdmin,
        Effect.flatMap(Outbox, ({ list }) => list(filter))
      ),
    "jobs.crons": () =>
      Effect.andThen(
        isAdmin,
        Effect.flatMap(Outbox, ({ crons }) => crons)
      ),
    "jobs.retry": ({ id }) => write(({ reschedule }) => reschedule(id)),
    "jobs.edit": ({ id, payload }) => write(({ edit }) => edit(id, payload)),
    "jobs.discard": ({ id }) => write(({ remove }) => remove(id))
  })
}
