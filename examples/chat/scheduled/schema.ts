/**
 * Messages that wait for their time. Each row belongs to one job, which sends it.
 * The row is what its author sees and cancels; the job is what wakes the object.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { Scheduler } from "effect-dormouse/jobs"
import { ChannelId, channels, Lifetime } from "../schema.ts"

export const ScheduledId = Schema.String.pipe(Schema.brand("ScheduledId"))
export type ScheduledId = typeof ScheduledId.Type

export class Scheduled extends Model.Class<Scheduled>("chat/Scheduled")({
  id: Table.key(ScheduledId),
  channel: ChannelId,
  author: Schema.String,
  body: Schema.NonEmptyString,
  /** How long the message stays once it is sent. For ever unless given. */
  lifetime: Schema.optionalKey(Lifetime),
  at: Schema.DateTimeUtcFromMillis,
  job: Schema.optionalKey(Scheduler.JobId)
}) {}

export const scheduled = Table.make("scheduled", Scheduled, {
  key: "id",
  indexes: { byAuthor: ["author", "at"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})
