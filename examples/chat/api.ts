import * as Schema from "effect/Schema"
import { Api, Mutation, Page, Query } from "effect-dormouse"
import { AttachmentsApi } from "./attachments/api.ts"
import { AttachmentId, maxFiles } from "./attachments/schema.ts"
import { DigestApi } from "./digest/api.ts"
import {
  AttachmentNotFound,
  ChannelExists,
  ChannelNotFound,
  MessageEmpty,
  MessageNotFound,
  PersonNotFound
} from "./errors.ts"
import { ImportsApi } from "./imports/api.ts"
import { PresenceApi } from "./presence/api.ts"
import { PreviewsApi } from "./previews/api.ts"
import { ReadingApi } from "./reading/api.ts"
import { ScheduledApi } from "./scheduled/api.ts"
import { Access, Body, Channel, ChannelId, Lifetime, Member, Message, MessageId } from "./schema.ts"

const Limit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))
const Name = Schema.NonEmptyString.check(Schema.isMaxLength(60))

/** The text of a message that may have files. */
const Text = Schema.Union([Body, Schema.Literal("")])

/** A message as it is sent. It has a text, or files, or both. */
const Sent = Schema.Struct({
  channel: ChannelId,
  body: Text,
  lifetime: Schema.optionalKey(Lifetime),
  files: Schema.optionalKey(Schema.Array(AttachmentId).check(Schema.isMaxLength(maxFiles)))
}).check(Schema.makeFilter(({ body, files = [] }) => body !== "" || files.length > 0 || "the message is empty"))

/** The caller: who it is, and what it is called. */
export const Caller = Schema.Struct({ id: Schema.String, name: Schema.String, isGuest: Schema.Boolean })
export type Caller = typeof Caller.Type

/** People, channels and messages. */
export class TalkApi extends Api.make(
  Query.make("people.me", { payload: {}, success: Schema.NullOr(Caller) }),
  Mutation.make("people.enter", { payload: {} }),

  Mutation.make("channels.create", {
    payload: { name: Name, access: Access },
    success: Channel,
    error: ChannelExists
  }),
  Query.make("channels.list", { payload: {}, success: Schema.Array(Channel) }),

  Query.make("members.list", { payload: { channel: ChannelId }, success: Schema.Array(Member) }),
  Mutation.make("members.invite", {
    payload: { channel: ChannelId, name: Name },
    success: Member,
    error: Schema.Union([ChannelNotFound, PersonNotFound])
  }),
  Mutation.make("members.remove", { payload: { channel: ChannelId, person: Schema.String } }),

  Mutation.make("messages.send", {
    payload: Sent,
    success: Message,
    error: Schema.Union([ChannelNotFound, AttachmentNotFound])
  }),
  /** Changes the text of a message of the caller. An empty text is for messages with files. */
  Mutation.make("messages.edit", {
    payload: { id: MessageId, body: Text },
    success: Message,
    error: Schema.Union([MessageNotFound, MessageEmpty])
  }),
  /** Deletes a message of the caller, with its files. One that is gone already is no failure. */
  Mutation.make("messages.delete", { payload: { id: MessageId } }),
  Query.make("messages.list", {
    payload: { channel: ChannelId, limit: Limit },
    success: Schema.Array(Message)
  }),
  Query.make("messages.page", {
    payload: { channel: ChannelId, ...Page.Fields },
    success: Page.Page(Message)
  })
) {}

/** The whole contract: what the page calls, and what jobs and queues call. */
export const ChatApi = Api.merge(
  TalkApi,
  AttachmentsApi,
  ScheduledApi,
  PreviewsApi,
  ImportsApi,
  DigestApi,
  PresenceApi,
  ReadingApi
)
