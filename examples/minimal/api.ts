import * as Schema from "effect/Schema"
import { Action, Api, Mutation, Page, Query } from "effect-dormouse"
import { Channel, ChannelId, Message } from "./schema.ts"

export class ChannelNotFound extends Schema.TaggedError<ChannelNotFound>()("ChannelNotFound", { channel: ChannelId }) {}
export class ChannelExists extends Schema.TaggedError<ChannelExists>()("ChannelExists", { name: Schema.String }) {}
export class PreviewFailed extends Schema.TaggedError<PreviewFailed>()("PreviewFailed", {
  url: Schema.String,
  reason: Schema.String
}) {}

const Limit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))

export class ChatApi extends Api.make(
  Mutation.make("channels.create", {
    payload: { name: Schema.NonEmptyString },
    success: Channel,
    error: ChannelExists
  }),
  Query.make("channels.list", { payload: {}, success: Schema.Array(Channel) }),
  Mutation.make("messages.send", {
    payload: { channel: ChannelId, author: Schema.NonEmptyString, body: Schema.NonEmptyString },
    success: Message,
    error: ChannelNotFound
  }),
  Query.make("messages.list", {
    payload: { channel: ChannelId, limit: Limit },
    success: Schema.Array(Message)
  }),
  Query.make("messages.page", {
    payload: { channel: ChannelId, ...Page.Fields },
    success: Page.Page(Message)
  }),
  Action.make("links.preview", {
    payload: { url: Schema.String },
    success: Schema.Struct({ title: Schema.String }),
    error: PreviewFailed
  })
) {}
