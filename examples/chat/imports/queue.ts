/**
 * The queue of the parts of imports: a pool of two workers in each tenant, so that an import never takes the object for
 * itself.
 */
import * as Schema from "effect/Schema"
import { Queue } from "effect-dormouse/jobs"
import { Line } from "./lines.ts"
import { ImportId } from "./schema.ts"

/** A line with its number in the import. */
export const NumberedLine = Schema.Struct({ ...Line.fields, at: Schema.DateTimeUtcFromMillis, number: Schema.Int })

/** How many lines are one message of the queue. Even long ones fit. */
export const partSize = 150

export const Parts = Queue.make("imports", {
  payload: { import: ImportId, lines: Schema.Array(NumberedLine) },
  concurrency: 2,
  maxAttempts: 5
})
