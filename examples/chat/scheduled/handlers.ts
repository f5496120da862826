/**
 * Messages that are sent later: a row and a job, which commit together.
 * The job runs in the name of the author, under the policies of its time.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Scheduler } from "effect-dormouse/jobs"
import { Me } from "../me.ts"
import { existing, post } from "../posting.ts"
import { ScheduledApi } from "./api.ts"
import { type Scheduled, type ScheduledId, scheduled } from "./schema.ts"

export const ScheduledHandlers = ScheduledApi.toLayer({
  "scheduled.list": Effect.fnUntraced(function* () {
    const me = yield* Me.option
    if (Option.isNone(me)) return []
    const rows = yield* scheduled.query("byAuthor").eq("author", me.value.subject)
    return yield* Effect.forEach(rows, (message) =>
      Effect.map(hasFailed(message), (hasFailed) => ({ message, hasFailed }))
    )
  }),

  "scheduled.add": Effect.fnUntraced(function* (message) {
    const { subject } = yield* Me
    yield* existing(message.channel)
    const { at, id } = yield* scheduled.insert({ ...message, author: subject })
    const job = yield* Scheduler.at(at, ScheduledApi, "scheduled.send", { id })
    yield* Effect.orDie(scheduled.patch(id, { job }))
    return id
  }),

  "scheduled.cancel": ({ id }) => Effect.asVoid(take(id)),

  "scheduled.send": Effect.fnUntraced(function* ({ id }) {
    const message = yield* take(id)
    if (Option.isSome(message)) yield* post(message.value)
  })
})

/** A job that failed is kept until it is cancelled. */
const hasFailed = ({ job }: Scheduled) =>
  job === undefined
    ? Effect.succeed(false)
    : Effect.map(Scheduler.get(job), (job) => Option.exists(job, ({ state }) => state === "failed"))

/** Removes a message that waits, and its job unless that is what runs now. */
const take = Effect.fnUntraced(function* (id: ScheduledId) {
  const message = yield* Effect.option(scheduled.get(id))
  if (Option.isNone(message)) return message
  yield* scheduled.delete(id)
  if (message.value.job !== undefined) yield* Scheduler.cancel(message.value.job)
  return message
})
