/**
 * Schedules mutations and actions of the contract: after a while, at a time, again and again.
 * In a mutation a job commits or rolls back with its rows (J1); what then runs, and how often, is in `docs/jobs.md`.
 */

import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schedule from "effect/Schedule"
import type { CallError } from "../protocol/CallError.ts"
import type * as Api from "./Api.ts"
import { type Auth, identity, system } from "./Auth.ts"
import { type Entry, type EntryFilter, type EntryId, Outbox, OutboxWriter } from "./Outbox.ts"
import { encodeCall } from "./PromisedCalls.ts"
import { refuse } from "./Refusals.ts"
import { delaysOf } from "./Retries.ts"

export { Entry as Job, EntryId as JobId, FailureReason } from "./Outbox.ts"

/** How a job runs. */
export interface JobOptions {
  /**
   * In whose name: the `caller` of the handler that schedules it, unless given, or the `system`, which has no subject and is
   * known by `Auth.isSystem`.
   */
  readonly as?: "caller" | "system"
  /** Jobs with one key run one after the other, in the order in which they were scheduled. */
  readonly key?: string
  /**
   * When a failed run is tried again. Without it a job runs once: an action at most once. With it an action runs at least
   * once, and may run twice.
   */
  readonly retry?: Schedule.Schedule<unknown, number>
  /** How often it is tried, 10 unless given. After that the job is kept with the reason of its last failure. */
  readonly maxAttempts?: number
}

/** The services of an effect that schedules. */
type Services = OutboxWriter | Auth

/** The tags of a contract that can be scheduled. */
export type JobTag<Rpcs extends Rpc.Any> = Api.TagOf<Rpcs, "mutation" | "action">

type PayloadOf<Rpcs extends Rpc.Any, Tag extends string> = Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>

/** The last millisecond of the year 9999. */
const maxTime = 253_402_300_799_999

/** Runs a mutation or an action after a while. Fails when the time is after the year 9999, or the payload too large. */
export const after = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  delay: Duration.Input,
  api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: PayloadOf<Rpcs, Tag>,
  options?: JobOptions
): Effect.Effect<EntryId, CallError, Services> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    schedule(now + Duration.toMillis(Duration.fromInputUnsafe(delay)), api, tag, payload, options)
  )

/** Runs a mutation or an action at a time; at once when that is in the past. */
export const at = <Rpcs extends Rpc.Any, Tag extends JobTag<Rpcs>>(
  time: DateTime.DateTime.Input,
  api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: PayloadOf<Rpcs, Tag>,
  options?: JobOptions
): Effect.Effect<EntryId, CallError, Services> => {
  const due = DateTime.make(time)
  return Option.isNone(due)
    ? refuse("this is no time")
    : schedule(due.value.epochMilliseconds, api, tag, payload, options)
}

const schedule = Effect.fnUntraced(function* (
  due: number,
  api: Api.Declared<any>,
  tag: string,
  payload: unknown,
  { as = "caller", key, maxAttempts = 10, retry }: JobOptions = {}
) {
  if (!(due <= maxTime)) return yield* refuse("a job must be due before the year 10000")
  const { add } = yield* OutboxWriter
  const encoded = yield* encodeCall(api, tag, payload)
  return yield* add({
    ...encoded,
    caller: as === "system" ? system : yield* identity,
    due: Math.max(0, Math.ceil(due)),
    ...(key !== undefined && { key }),
    ...(retry !== undefined && { delays: yield* delaysOf(retry, maxAttempts - 1) })
  })
})

/** Removes a job that does not run yet. Returns whether there was one. */
export const cancel = (id: EntryId): Effect.Effect<boolean, CallError, OutboxWriter> =>
  Effect.flatMap(OutboxWriter, ({ remove }) => remove(id))

/** Gives a job that does not run yet another time. Returns whether there was one. */
export const reschedule = (
  id: EntryId,
  time: DateTime.DateTime.Input
): Effect.Effect<boolean, CallError, OutboxWriter> => {
  const due = Option.map(DateTime.make(time), ({ epochMilliseconds }) => epochMilliseconds)
  if (Option.isNone(due)) return refuse("this is no time")
  if (due.value > maxTime) return refuse("a job must be due before the year 10000")
  return Effect.flatMap(OutboxWriter, (outbox) => outbox.reschedule(id, Math.max(0, Math.ceil(due.value))))
}

/** A job that has not ended. One that failed for good is there until it is discarded. */
export const get = (id: EntryId): Effect.Effect<Option.Option<Entry>, never, Outbox> =>
  Effect.flatMap(Outbox, (outbox) => outbox.get(id))

/** Jobs and messages that have not ended, the oldest first. */
export const list = (filter?: EntryFilter): Effect.Effect<ReadonlyArray<Entry>, never, Outbox> =>
  Effect.flatMap(Outbox, (outbox) => outbox.list(filter))
