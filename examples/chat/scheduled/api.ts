/**
 * What the page calls for messages that are sent later.
 * `scheduled.send` is called by the job at its time, and by an author who does not want to wait.
 */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { ChannelNotFound } from "../errors.ts"
import { Body, ChannelId, Lifetime } from "../schema.ts"
import { Scheduled, ScheduledId } from "./schema.ts"

/** A message that waits, and whether its job failed: the author could not write in the channel any more. */
export const Waiting = Schema.Struct({ message: Scheduled, hasFailed: Schema.Boolean })
export type Waiting = typeof Waiting.Type

export class ScheduledApi extends Api.make(
  Query.make("scheduled.list", { payload: {}, success: Schema.Array(Waiting) }),
  Mutation.make("scheduled.add", {
    payload: {
      channel: ChannelId,
      body: Body,
      lifetime: Schema.optionalKey(Lifetime),
      at: Schema.DateTimeUtcFromMillis
    },
    success: ScheduledId,
    error: ChannelNotFound
  }),
  Mutation.make("scheduled.cancel", { payload: { id: ScheduledId } }),
  Mutation.make("scheduled.send", { payload: { id: ScheduledId }, error: ChannelNotFound })
) {}
