/**
 * Imports of messages from a file. A row says how far one is.
 * Its lines are in the messages of a queue.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { Queue } from "effect-dormouse/jobs"
import { ChannelId, channels } from "../schema.ts"

export const ImportId = Schema.String.pipe(Schema.brand("ImportId"))
export type ImportId = typeof ImportId.Type

export class Import extends Model.Class<Import>("chat/Import")({
  id: Table.key(ImportId),
  channel: ChannelId,
  author: Schema.String,
  file: Schema.NonEmptyString,
  state: Schema.Literals(["running", "done", "cancelled"]),
  /** Lines that can be imported. */
  total: Schema.Int,
  /** Lines that cannot be read. */
  broken: Schema.Int,
  /** Lines of the parts that have succeeded, and of those that have failed. */
  imported: Schema.Int,
  failed: Schema.Int,
  /** The parts that have not ended. */
  parts: Schema.Array(Queue.MessageId),
  startedAt: Table.insertedAt
}) {}

export const imports = Table.make("imports", Import, {
  key: "id",
  indexes: { byAuthor: ["author", "startedAt"] },
  references: { channel: { table: () => channels, onDelete: "cascade" } }
})
