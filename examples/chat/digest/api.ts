/**
 * What the page calls for the settings of a team, and what its cron calls.
 * The time of the next digest is that of the cron.
 */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { ChannelId } from "../schema.ts"
import { Zone } from "./schema.ts"

/** The settings of a team, and when the next digest is written. */
export const TeamSettings = Schema.Struct({
  owner: Schema.String,
  zone: Zone,
  channel: Schema.NullOr(ChannelId),
  next: Schema.NullOr(Schema.DateTimeUtcFromMillis)
})
export type TeamSettings = typeof TeamSettings.Type

export class DigestApi extends Api.make(
  Query.make("team.get", { payload: {}, success: Schema.NullOr(TeamSettings) }),
  Mutation.make("team.setDigest", { payload: { zone: Zone, channel: Schema.NullOr(ChannelId) } }),
  Api.internal(Mutation.make("digest.write", { payload: {} }))
) {}
