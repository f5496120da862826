/**
 * The frames that a live query sends. `version` is the number of the commit that the value reflects: it only grows, and
 * queries with the same version reflect the same state of the database. `hash` identifies the value: a client that
 * reconnects sends the hash that it has, and gets the value only if it changed. `sum` is the checksum of what the client
 * has after the frame (`Checksum.ts`): a client whose own is another one has a wrong value.
 */
import * as Schema from "effect/Schema"
import * as Patch from "./Patch.ts"

/** The whole value. */
export const Snapshot = <S extends Schema.Top>(value: S) =>
  Schema.TaggedStruct("Snapshot", { value, version: Schema.Finite, hash: Schema.String, sum: Schema.Finite })

/** The difference from the value of the previous frame. */
export const Patched = Schema.TaggedStruct("Patch", {
  ops: Patch.Patch,
  version: Schema.Finite,
  hash: Schema.String,
  sum: Schema.Finite
})

/** The value whose hash the client sent is still the current value. */
export const Current = Schema.TaggedStruct("Current", { version: Schema.Finite, sum: Schema.Finite })

/** A part of the JSON text of a frame that is too large for one message. `last` marks the final part. */
export const Part = Schema.TaggedStruct("Part", { text: Schema.String, last: Schema.Boolean })

/** Any frame of a live query, from the schema of its value. */
export const Frame = <S extends Schema.Top>(value: S) => Schema.Union([Snapshot(value), Patched, Current, Part])
/** The schema of the frames of a live query. */
export interface Frame<S extends Schema.Top> extends ReturnType<typeof Frame<S>> {}

/** The prefix of a live stream's tag, before the tag of its query. */
export const livePrefix = "live:"

/** Request header: the hash of the value that the client has. */
export const knownHashHeader = "dormouse-have"

/**
 * Request header: this client acknowledges a frame on arrival, not when its application consumes it. The server then
 * sends everything that one commit changed in one message.
 */
export const promptHeader = "dormouse-prompt"
