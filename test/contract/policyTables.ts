import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Auth, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"

/** The tables and policies of a chat: members of a channel read and write its messages. */

export class Member extends Model.Class<Member>("policies/Member")({
  id: Schema.String,
  channel: Schema.String,
  user: Schema.String,
  level: Schema.Int
}) {}
export const members = Table.make("members", Member, {
  key: "id",
  indexes: { byChannel: ["channel", "user"] }
})

export class Message extends Model.Class<Message>("policies/Message")({
  id: Schema.String,
  channel: Schema.String,
  author: Schema.String,
  body: Schema.String,
  slug: Schema.NullOr(Schema.String),
  ip: Schema.optionalKey(Schema.String),
  secret: Schema.String
}) {}
export const messages = Table.make("messages", Message, {
  key: "id",
  indexes: {
    byChannel: ["channel", "body"],
    bySlug: { columns: ["slug"], unique: true },
    byIp: ["ip"]
  }
})

/** Refers to messages, and has no policies. */
export class Reaction extends Model.Class<Reaction>("policies/Reaction")({
  id: Schema.String,
  message: Schema.String,
  author: Schema.String
}) {}
export const reactions = Table.make("reactions", Reaction, {
  key: "id",
  references: { message: { table: () => messages } }
})

/** Rows that nobody reads, and that references delete and change. */
export class Pin extends Model.Class<Pin>("policies/Pin")({
  id: Schema.String,
  message: Schema.String,
  from: Schema.NullOr(Schema.String)
}) {}
export const pins = Table.make("pins", Pin, {
  key: "id",
  references: {
    message: { table: () => messages, onDelete: "cascade" },
    from: { table: () => messages, onDelete: "setNull" }
  }
})

export class Note extends Model.Class<Note>("policies/Note")({ id: Schema.String, body: Schema.String }) {}
/** Without policies. */
export const notes = Table.make("notes", Note, { key: "id" })

export class Me extends Auth.Service<Me>()("policies/Me", {
  claims: Schema.Struct({ admin: Schema.optionalKey(Schema.Boolean), channels: Schema.Array(Schema.String) })
}) {}

const { make } = Policy.for(Me)

export const policies = [
  make(messages, {
    read: ({ me, row }) => Policy.exists(members, { channel: row.channel, user: me.subject }),
    insert: ({ me, row }) => Policy.exists(members, { channel: row.channel, user: me.subject }),
    update: ({ me, row }) => Policy.eq(row.author, me.subject),
    delete: ({ me, row }) => Policy.and(Policy.eq(row.author, me.subject), Policy.ne(row.body, "kept")),
    fields: {
      ip: { read: ({ me }) => Policy.claim(me, "admin"), write: ({ me }) => Policy.claim(me, "admin") },
      secret: { read: ({ me, row }) => Policy.eq(row.author, me.subject), mask: "***" }
    },
    set: { author: ({ me }) => me.subject }
  }),
  make(reactions, {
    read: ({ me, row }) => Policy.eq(row.author, me.subject),
    insert: () => Policy.allow
  }),
  make(pins, {}),
  make(members, { read: () => Policy.allow, insert: ({ me }) => Policy.claim(me, "admin") })
]

export const tables = [members, messages, reactions, pins, notes]
