/**
 * The rpcs by which an action writes the outbox of its tenant: the Worker calls them in the object.
 * No client can: their tags are reserved.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Api from "../../contract/Api.ts"
import { Identity } from "../../contract/Auth.ts"
import type { Calls } from "../../contract/CallsTag.ts"
import { CronDefinition } from "../../contract/CronDefinition.ts"
import * as Mutation from "../../contract/Mutation.ts"
import { EntryId, NewEntry, Outbox, OutboxWriter } from "../../contract/Outbox.ts"
import * as Query from "../../contract/Query.ts"
import { Handed, Handled } from "../../contract/Queue.ts"
import * as AttemptMetrics from "./AttemptMetrics.ts"
import * as CarriedCalls from "./CarriedCalls.ts"
import { transacted } from "./OutboxTransactional.ts"

/** A call of a queue, which a broker has carried. */
const Carried = { queue: Schema.String, call: Schema.String }
/** What a handler needs that begins with a call. */
const Begun = Schema.Struct({
  caller: Identity,
  span: Schema.NullOr(Schema.Tuple([Schema.String, Schema.String])),
  time: Schema.Int,
  messages: Schema.Array(Handed)
})
const Results = Schema.Array(Schema.Struct({ id: EntryId, handled: Handled }))

/** What an action does with the outbox. */
export class OutboxApi extends Api.make(
  Mutation.make("~outbox.add", { payload: { entry: NewEntry }, success: EntryId }),
  Mutation.make("~outbox.remove", { payload: { id: EntryId }, success: Schema.Boolean }),
  Mutation.make("~outbox.reschedule", {
    payload: { id: EntryId, due: Schema.optionalKey(Schema.Int) },
    success: Schema.Boolean
  }),
  Mutation.make("~outbox.edit", { payload: { id: EntryId, payload: Schema.Json }, success: Schema.Boolean }),
  Mutation.make("~outbox.progress", { payload: { id: EntryId, progress: Schema.Json } }),
  Mutation.make("~outbox.setCron", { payload: { name: Schema.String, definition: CronDefinition } }),
  Mutation.make("~outbox.removeCron", { payload: { name: Schema.String }, success: Schema.Boolean }),
  /** Whether a call has not begun. It leaves nothing behind in an object that nobody has written to. */
  Query.make("~outbox.isWaiting", { payload: Carried, success: Schema.Boolean }),
  Mutation.make("~outbox.begin", {
    payload: { ...Carried, lease: Schema.Number, maxBytes: Schema.Number },
    success: Schema.NullOr(Begun)
  }),
  Mutation.make("~outbox.settle", { payload: { ...Carried, results: Results, millis: Schema.Number } })
) {}

/** The handlers, for the object. */
export const handlers: Layer.Layer<never, never, any> = OutboxApi.toLayer({
  "~outbox.add": ({ entry }) => Effect.flatMap(OutboxWriter, ({ add }) => add(entry)),
  "~outbox.remove": ({ id }) => Effect.flatMap(OutboxWriter, ({ remove }) => remove(id)),
  "~outbox.reschedule": ({ due, id }) => Effect.flatMap(OutboxWriter, ({ reschedule }) => reschedule(id, due)),
  "~outbox.edit": ({ id, payload }) => Effect.flatMap(OutboxWriter, ({ edit }) => edit(id, payload)),
  "~outbox.progress": ({ id, progress }) => Effect.flatMap(OutboxWriter, (outbox) => outbox.progress(id, progress)),
  "~outbox.setCron": ({ definition, name }) => Effect.flatMap(OutboxWriter, ({ setCron }) => setCron(name, definition)),
  "~outbox.removeCron": ({ name }) => Effect.flatMap(OutboxWriter, ({ removeCron }) => removeCron(name)),
  "~outbox.isWaiting": (call) => Effect.map(Outbox, (outbox) => CarriedCalls.isWaiting(transacted(outbox), call)),
  "~outbox.begin": (options) =>
    Effect.map(OutboxWriter, (outbox) => CarriedCalls.begin(transacted(outbox), options) ?? null),
  "~outbox.settle": Effect.fnUntraced(function* (call) {
    const outbox = transacted(yield* OutboxWriter)
    const { tx } = outbox
    const settled = CarriedCalls.settle(outbox, call)
    for (const { handled, id, outcome } of settled) {
      if (outcome === "failed") yield* Effect.logError(`queue ${call.queue} (${id}) is not tried again`, handled)
    }
    const times = { began: tx.now - call.millis, now: tx.now }
    const count = (context: Context.Context<never>) =>
      Effect.sync(() => {
        for (const { delivery, outcome } of settled) AttemptMetrics.ended(delivery, outcome, times, context)
      })
    tx.afterCommit(Effect.contextWith(count))
  })
})

/** The outbox as an action writes it: each operation is a transaction of its own in the object. */
export const writerOver = ({ call }: Calls["Service"]): OutboxWriter["Service"] => ({
  add: (entry) => call("~outbox.add", { entry }),
  remove: (id) => call("~outbox.remove", { id }),
  reschedule: (id, due) => call("~outbox.reschedule", { id, ...(due !== undefined && { due }) }),
  edit: (id, payload) => call("~outbox.edit", { id, payload }),
  progress: (id, progress) => call("~outbox.progress", { id, progress }),
  setCron: (name, definition) => call("~outbox.setCron", { name, definition }),
  removeCron: (name) => call("~outbox.removeCron", { name })
})
