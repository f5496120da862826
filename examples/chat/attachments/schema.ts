/**
 * Files of messages. A row is there as soon as an upload begins, and belongs to a message once it was sent with one.
 * The names, types and sizes of files are those of the bucket.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { Bucket } from "effect-dormouse/files"
import { ChannelId, channels, MessageId, messages } from "../schema.ts"

export const AttachmentId = Schema.String.pipe(Schema.brand("AttachmentId"))
export type AttachmentId = typeof AttachmentId.Type

/** How many files a message may have. */
export const maxFiles = 10

/** What may be attached: nothing that a computer would run. */
export const AttachedFiles = Bucket.make("attachments", {
  maxBytes: 20_000_000,
  contentTypes: [
    "image/*",
    "audio/*",
    "video/*",
    "text/*",
    "application/pdf",
    "application/json",
    "application/zip",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation"
  ]
})

export class Attachment extends Model.Class<Attachment>("chat/Attachment")({
  id: Table.key(AttachmentId),
  channel: ChannelId,
  author: Schema.String,
  file: AttachedFiles.file,
  /** The message that it was sent with, its time, and the place among its files. None of them before that. */
  message: Schema.optionalKey(MessageId),
  sentAt: Schema.optionalKey(Schema.DateTimeUtcFromMillis),
  place: Schema.optionalKey(Schema.Int)
}) {}

export const attachments = Table.make("attachments", Attachment, {
  key: "id",
  indexes: { byMessage: ["message", "place"], byChannel: ["channel", "sentAt"] },
  references: {
    channel: { table: () => channels, onDelete: "cascade" },
    message: { table: () => messages, onDelete: "cascade" }
  }
})
