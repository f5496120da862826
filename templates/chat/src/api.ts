import * as Schema from "effect/Schema"
import { Api, Mutation, Page, Query } from "effect-dormouse"
import { Body, Channel, ChannelId, Message, Name } from "./schema.ts"

export class ChannelExists extends Schema.TaggedError<ChannelExists>()("ChannelExists", { name: Name }) {}
export class ChannelNotFound extends Schema.TaggedError<ChannelNotFound>()("ChannelNotFound", { channel: ChannelId }) {}

/** What clients may call. Server and page share it. */
export class AppApi extends Api.make(
  Query.make("channels.list", { payload: {}, success: Schema.Array(Channel) }),
  Mutation.make("channels.create", { payload: { name: Name }, success: Channel, error: ChannelExists }),
  Query.make("messages.page", { payload: { channel: ChannelId, ...Page.Fields }, success: Page.Page(Message) }),
  Mutation.make("messages.send", {
    payload: { channel: ChannelId, author: Name, body: Body },
    success: Message,
    error: ChannelNotFound
  })
) {}
