/**
 * The failures that the chat declares.
 * Contracts name them, and the page shows a sentence for each.
 */
import * as Schema from "effect/Schema"
import { ChannelId } from "./schema.ts"

export class ChannelNotFound extends Schema.TaggedError<ChannelNotFound>()("ChannelNotFound", { channel: ChannelId }) {}
export class ChannelExists extends Schema.TaggedError<ChannelExists>()("ChannelExists", { name: Schema.String }) {}
export class PersonNotFound extends Schema.TaggedError<PersonNotFound>()("PersonNotFound", { name: Schema.String }) {}
