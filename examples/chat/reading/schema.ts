/**
 * Up to where people have read: one row for each person and channel.
 * It is a time and no message, because a message can be deleted.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { ChannelId, channels } from "../schema.ts"

const ReadMarkId = Schema.String.pipe(Schema.brand("ReadMarkId"))

export class ReadMark extends Model.Class<ReadMark>("chat/ReadMark")({
  id: Table.key(ReadMarkId),
  channel: ChannelId,
  person: Schema.String,
  /** When the newest message was sent that the person has seen. */
  upTo: Schema.DateTimeUtcFromMillis
}) {}

export const readMarks = Table.make("readMarks", ReadMark, {
  key: "id",
  indexes: {
    byChannel: { columns: ["channel", "person"], unique: true },
    byPerson: ["person"],
    byTime: ["channel", "upTo"]
  },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})

/** The mark of a person in a channel. */
export const markOf = (channel: ChannelId, person: string) =>
  readMarks.query("byChannel").eq("channel", channel).eq("person", person).first
