import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const ChannelId = Schema.String.pipe(Schema.brand("ChannelId"))
export type ChannelId = typeof ChannelId.Type

export const MessageId = Schema.String.pipe(Schema.brand("MessageId"))
export type MessageId = typeof MessageId.Type

export const Name = Schema.String.check(Schema.isBetweenLength(1, 40))
export const Body = Schema.String.check(Schema.isBetweenLength(1, 2000))

export class Channel extends Model.Class<Channel>("app/Channel")({
  id: Table.key(ChannelId),
  name: Name,
  createdAt: Table.insertedAt
}) {}

export class Message extends Model.Class<Message>("app/Message")({
  id: Table.key(MessageId),
  channel: ChannelId,
  author: Name,
  body: Body,
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
