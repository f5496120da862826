import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const ChannelId = Schema.String.pipe(Schema.brand("ChannelId"))
export type ChannelId = typeof ChannelId.Type

export const MessageId = Schema.String.pipe(Schema.brand("MessageId"))
export type MessageId = typeof MessageId.Type

const MemberId = Schema.String.pipe(Schema.brand("MemberId"))

/** Who can see a channel: everybody in the tenant, or its members. */
export const Access = Schema.Literals(["public", "private"])
export type Access = typeof Access.Type

/** How long the text of a message may be, in the units of `length`. */
export const maxBody = 4000

/** The text of a message. */
export const Body = Schema.NonEmptyString.check(Schema.isMaxLength(maxBody))

/** How long a message stays that disappears. */
export const Lifetime = Schema.Literals(["1 minute", "1 hour", "1 day"])
export type Lifetime = typeof Lifetime.Type

export class Channel extends Model.Class<Channel>("chat/Channel")({
  id: Table.key(ChannelId),
  name: Schema.NonEmptyString,
  access: Access,
  /** The subject of who created it, and who alone can remove others. */
  owner: Schema.String,
  createdAt: Table.insertedAt
}) {}

export class Member extends Model.Class<Member>("chat/Member")({
  id: Table.key(MemberId),
  channel: ChannelId,
  person: Schema.String,
  name: Schema.NonEmptyString,
  joinedAt: Table.insertedAt
}) {}

/** What is shown of a page that a message links to. */
export const Preview = Schema.Struct({
  url: Schema.String,
  title: Schema.NonEmptyString,
  description: Schema.optionalKey(Schema.String)
})
export type Preview = typeof Preview.Type

export class Message extends Model.Class<Message>("chat/Message")({
  id: Table.key(MessageId),
  channel: ChannelId,
  author: Schema.String,
  /** The author's name at that time. */
  name: Schema.NonEmptyString,
  /** Empty only if the message has files. */
  body: Schema.String,
  sentAt: Schema.DateTimeUtcFromMillis,
  /** When its author last changed the text. */
  editedAt: Schema.optionalKey(Schema.DateTimeUtcFromMillis),
  /** Who wrote it in another chat, if the author imported it from there. */
  from: Schema.optionalKey(Schema.NonEmptyString),
  /** When the message disappears. Never unless given. */
  expiresAt: Schema.optionalKey(Schema.DateTimeUtcFromMillis),
  /** How many files it has, if it has some: see `attachments`. */
  files: Schema.optionalKey(Schema.Int),
  /** Of the first page that the message links to, as soon as the page was read. */
  preview: Schema.optionalKey(Preview)
}) {}

/** Somebody who has opened the chat, and can be invited by name. */
export class Person extends Model.Class<Person>("chat/Person")({
  id: Schema.String,
  name: Schema.NonEmptyString
}) {}

export const channels = Table.make("channels", Channel, {
  key: "id",
  // A private channel must not show that it exists by taking a name: so the index is not unique.
  indexes: { byName: ["name"], byOwner: ["owner"] }
})

export const members = Table.make("members", Member, {
  key: "id",
  indexes: { byChannel: { columns: ["channel", "person"], unique: true }, byPerson: ["person"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})

export const messages = Table.make("messages", Message, {
  key: "id",
  indexes: { byChannel: ["channel", "sentAt"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})

export const people = Table.make("people", Person, {
  key: "id",
  indexes: { byName: { columns: ["name"], unique: true } }
})
