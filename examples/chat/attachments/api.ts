/**
 * What the page calls for files: it begins their uploads, and shows those of messages.
 * `messages.send` attaches them.
 */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { Bucket } from "effect-dormouse/files"
import { ChannelNotFound } from "../errors.ts"
import { ChannelId, MessageId } from "../schema.ts"
import { AttachmentId } from "./schema.ts"

/** A file of a message. */
export const Shown = Schema.Struct({
  id: AttachmentId,
  message: MessageId,
  name: Schema.String,
  type: Schema.String,
  bytes: Schema.Int,
  /** A path of the Worker, for an hour at least. Images are shown there, other files are saved. */
  url: Schema.String
})
export type Shown = typeof Shown.Type

export class AttachmentsApi extends Api.make(
  /** Files of a channel, those of each message in their order: of messages from a time on, and of the newest 1,000 files. */
  Query.make("attachments.list", {
    payload: {
      channel: ChannelId,
      since: Schema.NullOr(Schema.DateTimeUtcFromMillis),
      /** Hours since 1970, as the page counts them: with each hour it asks for new URLs, before the old ones expire. */
      hour: Schema.Int
    },
    success: Schema.Array(Shown)
  }),
  Mutation.make("attachments.begin", {
    payload: { channel: ChannelId, file: Bucket.NewFile },
    success: Schema.Struct({ id: AttachmentId, upload: Bucket.Upload }),
    error: Schema.Union([ChannelNotFound, Bucket.FileRefused])
  }),
  /** Deletes a file that was not sent: its author calls it, and a job of the system after a day. */
  Mutation.make("attachments.remove", { payload: { id: AttachmentId } })
) {}
