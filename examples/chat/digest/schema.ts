/**
 * The settings of a team: one row in each tenant.
 * Whoever makes the first channel of a team owns them.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { ChannelId, channels } from "../schema.ts"

/** The key of the one row. */
export const teamId = "team"

/** The name of a time zone, such as `Europe/Berlin`. */
export const Zone = Schema.String.check(
  Schema.makeFilter((zone) => Option.isSome(DateTime.zoneMakeNamed(zone)) || "no time zone")
)

export class Team extends Model.Class<Team>("chat/Team")({
  id: Schema.Literal(teamId),
  owner: Schema.String,
  /** It says when the night begins. */
  zone: Zone,
  /** Where the digest is written. Nowhere if it is null. */
  channel: Schema.NullOr(ChannelId),
  /** What has happened from this time on is for the next digest. */
  since: Schema.DateTimeUtcFromMillis
}) {}

export const teams = Table.make("teams", Team, {
  key: "id",
  references: { channel: { table: () => channels, onDelete: "setNull" } }
})
