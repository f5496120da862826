/** What the page calls to say what its user has read, and to show what others have. */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { ChannelId, MessageId } from "../schema.ts"

/** Somebody who has read the messages of a channel up to a time. */
export const Reader = Schema.Struct({ id: Schema.String, name: Schema.String, upTo: Schema.DateTimeUtcFromMillis })
export type Reader = typeof Reader.Type

export class ReadingApi extends Api.make(
  /** Those who have read furthest: 50 at most. */
  Query.make("reading.list", { payload: { channel: ChannelId }, success: Schema.Array(Reader) }),
  /** The caller has read up to a message. */
  Mutation.make("reading.mark", { payload: { message: MessageId } })
) {}
