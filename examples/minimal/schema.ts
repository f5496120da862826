import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const ChannelId = Schema.String.pipe(Schema.brand("ChannelId"))
export type ChannelId = typeof ChannelId.Type

export const MessageId = Schema.String.pipe(Schema.brand("MessageId"))
export type MessageId = typeof MessageId.Type

export class Channel extends Model.Class<Channel>("chat/Channel")({
  id: Table.key(ChannelId),
  name: Schema.NonEmptyString,
  createdAt: Table.insertedAt
}) {}

export class Message extends Model.Class<Message>("chat/Message")({
  id: Table.key(MessageId),
  channel: ChannelId,
  author: Schema.NonEmptyString,
  body: Schema.NonEmptyString,
  sentAt: Table.insertedAt
}) {}

export const channels = Table.make("channels", Channel, {
  key: "id",
  indexes: { byName: { columns: ["name"], unique: true } }
})

export const messages = Table.make("messages", Message, {
  key: "id",
  indexes: { byChannel: ["channel", "sentAt"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})
