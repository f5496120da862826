import * as Schema from "effect/Schema"
import * as Patch from "./Patch.ts"

/**
 * What a live query sends. `version` is the commit the value belongs to: it only ever grows, and queries that show the
 * same version show the same database. `hash` stands for the value; a client that has it says so when it comes back.
 */

/** The whole value. */
export const Snapshot = <S extends Schema.Top>(value: S) =>
  Schema.TaggedStruct("Snapshot", { value, version: Schema.Finite, hash: Schema.String })

/** What to change in the value that the frame before left behind. */
export const Patched = Schema.TaggedStruct("Patch", {
  ops: Patch.Patch,
  version: Schema.Finite,
  hash: Schema.String
})

/** The value that the client said it has is still the value. */
export const Current = Schema.TaggedStruct("Current", { version: Schema.Finite })

/** A piece of the JSON text of a frame that is too large for one message. The last one completes it. */
export const Part = Schema.TaggedStruct("Part", { text: Schema.String, last: Schema.Boolean })

export const Frame = <S extends Schema.Top>(value: S) => Schema.Union([Snapshot(value), Patched, Current, Part])
export interface Frame<S extends Schema.Top> extends ReturnType<typeof Frame<S>> {}

/** The prefix that makes the tag of a query the tag of its live stream. */
export const livePrefix = "live:"

/** Request header: the hash of the value that the client has. */
export const knownHashHeader = "dormouse-have"

/**
 * Request header: this client acknowledges a frame when it arrives, not when somebody reads it. It gets all that one
 * commit changed in one message.
 */
export const promptHeader = "dormouse-prompt"
