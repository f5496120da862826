/**
 * Jobs that repeat, as data: when, what they call, and how often they ran.
 * Apart from `Cron.ts`, because the outbox stores these, and `Cron.ts` needs the outbox.
 */
import * as Schema from "effect/Schema"
import { Identity } from "./Auth.ts"

/** When a job repeats. */
export const Timing = Schema.Union([
  Schema.TaggedStruct("Cron", {
    /** Five fields, or six with seconds first. */
    expression: Schema.String,
    /** An IANA time zone or an offset. UTC unless given. */
    zone: Schema.String,
    /** Which of two equal local times counts when clocks are set back. */
    onDstOverlap: Schema.Literals(["earlier", "later", "both"])
  }),
  Schema.TaggedStruct("Every", { millis: Schema.Int.check(Schema.isGreaterThan(0)) })
])
/** When a job repeats. */
export type Timing = typeof Timing.Type

/** A job that repeats, as it is stored. */
export const CronDefinition = Schema.Struct({
  timing: Timing,
  lane: Schema.String,
  target: Schema.String,
  payload: Schema.Json,
  caller: Identity,
  /** What happens to an occurrence while an earlier one has not ended: it is left out, or waits for the earlier one. */
  overlap: Schema.Literals(["skip", "queue"]),
  /** How many of the occurrences that were missed are made up for, the latest first. */
  missed: Schema.Int,
  delays: Schema.optionalKey(Schema.Array(Schema.Number))
})
/** A job that repeats, as it is stored. */
export type CronDefinition = typeof CronDefinition.Type

/** A job that repeats, with its runs. */
export class CronState extends Schema.Class<CronState>("effect-dormouse/Cron/CronState")({
  name: Schema.String,
  definition: CronDefinition,
  /** Whether the app declares it; a handler set it otherwise. */
  isDeclared: Schema.Boolean,
  next: Schema.DateTimeUtcFromMillis,
  /** The last occurrence for which a job was added. */
  last: Schema.NullOr(Schema.DateTimeUtcFromMillis),
  /** How often an occurrence was left out because an earlier one had not ended, or because none was made up for. */
  skipped: Schema.Int
}) {}
