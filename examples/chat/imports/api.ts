/**
 * What the page calls for imports, and what the queue of their parts calls in the name of who imports.
 * A caller has only imports of its own.
 */
import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { Queue } from "effect-dormouse/jobs"
import { ChannelNotFound } from "../errors.ts"
import { ChannelId } from "../schema.ts"
import { Line } from "./lines.ts"
import { NumberedLine } from "./queue.ts"
import { Import, ImportId } from "./schema.ts"

/** An import, and how many of its lines have been worked on. */
export const Progress = Schema.Struct({ import: Import, done: Schema.Int })
export type Progress = typeof Progress.Type

/** How many lines an import may have. */
export const maxLines = 50_000

export class ImportsApi extends Api.make(
  Query.make("imports.list", { payload: {}, success: Schema.Array(Progress) }),
  Mutation.make("imports.begin", {
    payload: {
      channel: ChannelId,
      file: Schema.NonEmptyString.check(Schema.isMaxLength(255)),
      lines: Schema.Array(Line).check(Schema.isMaxLength(maxLines)),
      broken: Schema.Int
    },
    success: ImportId,
    error: ChannelNotFound
  }),
  Mutation.make("imports.cancel", { payload: { id: ImportId } }),
  Mutation.make("imports.dismiss", { payload: { id: ImportId } }),
  /** Writes some lines. Returns whether the import still runs. */
  Mutation.make("imports.write", {
    payload: { id: ImportId, lines: Schema.Array(NumberedLine) },
    success: Schema.Boolean,
    error: ChannelNotFound
  }),
  /** A part has ended. */
  Api.internal(
    Mutation.make("imports.ended", {
      payload: { id: ImportId, size: Schema.Int, message: Queue.MessageId, outcome: Queue.Outcome }
    })
  )
) {}
