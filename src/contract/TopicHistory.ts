/**
 * The history of a topic: how its messages are named, and where a reader begins.
 * `Topic.make` with `history` declares one.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * Names a message of one key of a history. A reader that gives the cursor of the last item that it has handled gets what
 * follows. It has no other meaning: do not take it apart.
 */
export const Cursor = Schema.String.check(Schema.isPattern(/^[0-9a-z]{1,12}\.[0-9]{1,15}$/))
/** Names a message of one key of a history. */
export type Cursor = typeof Cursor.Type

/** After what a reader begins: after a message, before the first that is kept, or with the next that is published. */
export const After = Schema.Union([Schema.Literals(["start", "now"]), Cursor])
/** After what a reader begins: after a message, before the first that is kept, or with the next that is published. */
export type After = typeof After.Type

/** What a request for a history contains. Without `after`, a reader begins at the start. */
export const Reading = <Key extends Schema.Top>(key: Key) => Schema.Struct({ key, after: Schema.optionalKey(After) })
/** The schema of what a request for a history contains. */
export interface Reading<Key extends Schema.Top> extends ReturnType<typeof Reading<Key>> {}

/** What the reader of a history is sent: a message, its cursor, and how many before it are not kept any more. */
export const HistoryItem = <Message extends Schema.Top>(message: Message) =>
  Schema.Struct({ message, cursor: Cursor, missed: Schema.optionalKey(Schema.Int) })
/** The schema of what the reader of a history is sent. */
export interface HistoryItem<Message extends Schema.Top> extends ReturnType<typeof HistoryItem<Message>> {}

/** Reads how far histories are. Queries and mutations have it. */
export class Histories extends Context.Service<
  Histories,
  {
    /** The cursor of the newest message at an encoded key of a topic, or `start` if there was none. */
    readonly newest: (topic: string, key: Schema.Json) => Effect.Effect<After>
  }
>()("effect-dormouse/Histories") {}
