/**
 * The failures that the chat declares.
 * Contracts name them, and the page shows a sentence for each.
 */
import * as Schema from "effect/Schema"
import { AttachmentId } from "./attachments/schema.ts"
import { ChannelId, MessageId } from "./schema.ts"

export class ChannelNotFound extends Schema.TaggedError<ChannelNotFound>()("ChannelNotFound", { channel: ChannelId }) {}
export class ChannelExists extends Schema.TaggedError<ChannelExists>()("ChannelExists", { name: Schema.String }) {}
export class PersonNotFound extends Schema.TaggedError<PersonNotFound>()("PersonNotFound", { name: Schema.String }) {}
/** The message was deleted, has disappeared, or is in a channel that the caller cannot see. */
export class MessageNotFound extends Schema.TaggedError<MessageNotFound>()("MessageNotFound", { message: MessageId }) {}
/** The message would have neither a text nor a file. */
export class MessageEmpty extends Schema.TaggedError<MessageEmpty>()("MessageEmpty", { message: MessageId }) {}
/** A file that is to be sent is not there, not uploaded yet, somebody else's, or belongs to a message already. */
export class AttachmentNotFound extends Schema.TaggedError<AttachmentNotFound>()("AttachmentNotFound", {
  attachment: AttachmentId
}) {}
