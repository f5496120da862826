/**
 * The queue of pages whose title is shown below a message.
 * A message that contains a URL is sent here in the transaction that inserts it.
 */
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Queue } from "effect-dormouse/jobs"
import { MessageId } from "../schema.ts"

/** How often a page is asked for. */
export const maxAttempts = 3

export const Previews = Queue.make("previews", {
  payload: { message: MessageId, url: Schema.String },
  retry: Schedule.exponential("2 seconds"),
  maxAttempts,
  concurrency: 4,
  timeout: "20 seconds"
})
