/**
 * The services behind jobs and queues: calls that are promised in a transaction and made after its commit.
 * Authors use them through `Scheduler` and their queues.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"
import { Identity } from "./Auth.ts"
import type { CronDefinition, CronState } from "./CronDefinition.ts"

/** The id of a job or of a message. No id is used twice in a tenant. */
export const EntryId = Schema.String.pipe(Schema.brand("EntryId"))
/** The id of a job or of a message. */
export type EntryId = typeof EntryId.Type

/** Milliseconds since the epoch. */
const Millis = Schema.Int

/** A call to be made after the commit. */
export const NewEntry = Schema.Struct({
  /** Which entries are delivered together: `mutations`, `actions`, or those of one queue. */
  lane: Schema.String,
  /** The tag of the rpc. */
  target: Schema.String,
  payload: Schema.Json,
  /** In whose name the call is made. */
  caller: Identity,
  /** Not before this time; at once unless given. */
  due: Schema.optionalKey(Millis),
  /** Entries of a lane with one key are delivered one after the other, in the order of their ids. */
  key: Schema.optionalKey(Schema.String),
  /** Unique among the entries of its rpc, for a day after the entry has ended. A second entry of this name is not added. */
  name: Schema.optionalKey(Schema.String),
  /** Milliseconds before each retry. Without retries an action runs at most once. */
  delays: Schema.optionalKey(Schema.Array(Schema.Number)),
  /** The cron that made the entry. */
  cron: Schema.optionalKey(Schema.String),
  /** The mutation that runs when the entry has ended. */
  completion: Schema.optionalKey(Schema.Struct({ target: Schema.String, payload: Schema.Json }))
})
/** A call to be made after the commit. */
export type NewEntry = typeof NewEntry.Type

/** Where an entry is: not due or not begun, being delivered, or kept because it could not be delivered. */
export const EntryState = Schema.Literals(["waiting", "running", "failed"])
/** Where an entry is. */
export type EntryState = typeof EntryState.Type

/**
 * Why an entry could not be delivered. `failed`: the handler failed, `detail` is the JSON of its error. `unknown`: the app has
 * no such rpc or queue any more. `payload`: the payload does not fit the schema any more. `timeout`: the handler took too long.
 * `cut`: the object was lost while the handler ran, so it may have run. `rejected`: the handler said so.
 */
export const FailureReason = Schema.Struct({
  kind: Schema.Literals(["failed", "unknown", "payload", "timeout", "cut", "rejected"]),
  detail: Schema.String
})
/** Why an entry could not be delivered. */
export type FailureReason = typeof FailureReason.Type

/** A job or a message, as it is stored. */
export class Entry extends Schema.Class<Entry>("effect-dormouse/Outbox/Entry")({
  id: EntryId,
  lane: Schema.String,
  target: Schema.String,
  payload: Schema.Json,
  caller: Identity,
  state: EntryState,
  /** Not before this time. */
  due: Schema.DateTimeUtcFromMillis,
  createdAt: Schema.DateTimeUtcFromMillis,
  /** How often its delivery has begun. */
  attempts: Schema.Int,
  key: Schema.NullOr(Schema.String),
  cron: Schema.NullOr(Schema.String),
  /** What its handler said of the progress. */
  progress: Schema.NullOr(Schema.Json),
  /** Why the last attempt failed. */
  reason: Schema.NullOr(FailureReason)
}) {}

/** Which entries to list. */
export const EntryFilter = Schema.Struct({
  /** `failed` for those that are kept because they could not be delivered. All others unless given. */
  state: Schema.optionalKey(EntryState),
  lane: Schema.optionalKey(Schema.String),
  /** Those after this one. */
  after: Schema.optionalKey(EntryId),
  /** At most so many, 100 unless given. */
  take: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
})
/** Which entries to list. */
export type EntryFilter = typeof EntryFilter.Type

/** Reads the outbox. Queries and mutations have it; a live query runs again when what it read changes. */
export class Outbox extends Context.Service<
  Outbox,
  {
    /** An entry that has not ended. */
    readonly get: (id: EntryId) => Effect.Effect<Option.Option<Entry>>
    /** Entries, the oldest first. */
    readonly list: (filter?: EntryFilter) => Effect.Effect<ReadonlyArray<Entry>>
    /** The jobs that repeat, by name. */
    readonly crons: Effect.Effect<ReadonlyArray<CronState>>
  }
>()("effect-dormouse/Outbox") {}

/** Writes the outbox. In a mutation it belongs to the transaction; in an action it acts at once. */
export class OutboxWriter extends Context.Service<
  OutboxWriter,
  {
    /** Adds an entry. With a name that is there already, returns the id of that entry. */
    readonly add: (entry: NewEntry) => Effect.Effect<EntryId, CallError>
    /** Removes an entry whose delivery has not begun, or that failed. Returns whether it was there. */
    readonly remove: (id: EntryId) => Effect.Effect<boolean, CallError>
    /** Sets the time of an entry whose delivery has not begun, or of one that failed. Returns whether it was there. */
    readonly reschedule: (id: EntryId, due?: number) => Effect.Effect<boolean, CallError>
    /** Gives an entry whose delivery has not begun, or that failed, another payload. Returns whether it was there. */
    readonly edit: (id: EntryId, payload: Schema.Json) => Effect.Effect<boolean, CallError>
    /** Says how far the delivery of an entry is. */
    readonly progress: (id: EntryId, progress: Schema.Json) => Effect.Effect<void, CallError>
    /** Sets a job that repeats. One of the same name is replaced. */
    readonly setCron: (name: string, definition: CronDefinition) => Effect.Effect<void, CallError>
    /** Removes a job that repeats and that a handler set. Returns whether there was one. */
    readonly removeCron: (name: string) => Effect.Effect<boolean, CallError>
  }
>()("effect-dormouse/OutboxWriter") {}
