/**
 * The table of the outbox, and its rows as data.
 * `wake` is when a row must be looked at next: when it is due, when its delivery counts as cut, or when it can be deleted. It is
 * null for a row that waits for another one of its key.
 */
import * as Schema from "effect/Schema"
import type { Identity } from "../../contract/Auth.ts"
import { Entry, EntryId, type FailureReason } from "../../contract/Outbox.ts"
import type { InternalTable, SqlValue } from "../../contract/Transactional.ts"

/** The table's name. */
export const outboxTable = "_dormouse_outbox"

/** The name by which writes are recorded that are more than new entries: the alarm is then computed anew. */
export const outboxChanges = `${outboxTable} changes`

const index = (name: string, columns: string, condition: string) =>
  `CREATE INDEX ${outboxTable}_by_${name} ON ${outboxTable} (${columns}) WHERE ${condition}`

/** The table with its indexes. Most rows are in one of them. */
export const outbox: InternalTable = {
  name: outboxTable,
  create: [
    `CREATE TABLE ${outboxTable} (id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, wake INTEGER, ` +
      "state TEXT NOT NULL, target TEXT NOT NULL, payload TEXT NOT NULL, caller TEXT NOT NULL, due INTEGER NOT NULL, " +
      "created INTEGER NOT NULL, attempts INTEGER NOT NULL, key TEXT, name TEXT, delays TEXT, cron TEXT, span TEXT, " +
      "completion TEXT, progress TEXT, reason TEXT, call TEXT, sends INTEGER NOT NULL DEFAULT 0)",
    index("wake", "lane, wake", "wake IS NOT NULL"),
    index("key", "lane, key, id", "key IS NOT NULL"),
    index("name", "target, name", "name IS NOT NULL"),
    index("cron", "cron", "cron IS NOT NULL"),
    index("call", "lane, call", "call IS NOT NULL"),
    index("failed", "id", "state = 'failed'")
  ].join("; ")
}

/** What a row says of its delivery. */
export interface Delivery {
  readonly id: number
  readonly lane: string
  /**
   * `blocked`: it waits for another entry of its key. `sent`: a broker has its call, and the handler has not begun. `done`: its
   * name is kept for a while.
   */
  readonly state: "waiting" | "blocked" | "sent" | "running" | "failed" | "done"
  readonly target: string
  /** JSON. */
  readonly payload: string
  readonly caller: Identity
  /** Not before this time. */
  readonly due: number
  readonly attempts: number
  readonly key: string | null
  readonly name: string | null
  readonly delays: ReadonlyArray<number> | null
  /** The mutation that runs when the entry has ended. */
  readonly completion: { readonly target: string; readonly payload: Readonly<Record<string, unknown>> } | null
  /** The trace and the span of the call that added the entry. */
  readonly span: readonly [traceId: string, spanId: string] | null
  /** The call that a broker carries for it. */
  readonly call: string | null
  /** How often that was sent since a handler has begun. */
  readonly sends: number
  /** The cron that added the entry. */
  readonly cron: string | null
}

/** The columns of `toDelivery`. */
export const deliveryColumns =
  "id, lane, state, target, payload, caller, due, attempts, key, name, delays, span, completion, call, sends, cron"

/** Reads a row. The outbox alone writes them. */
export const toDelivery = (row: ReadonlyArray<SqlValue>): Delivery => {
  const [
    id,
    lane,
    state,
    target,
    payload,
    caller,
    due,
    attempts,
    key,
    name,
    delays,
    span,
    completion,
    call,
    sends,
    cron
  ] = row as ReadonlyArray<any>
  return {
    id,
    lane,
    state,
    target,
    payload,
    caller: JSON.parse(caller),
    due,
    attempts,
    key,
    name,
    delays: delays === null ? null : JSON.parse(delays),
    span: span === null ? null : JSON.parse(span),
    completion: completion === null ? null : JSON.parse(completion),
    call,
    sends,
    cron
  }
}

/** The columns of `toEntry`. */
export const entryColumns =
  "id, lane, target, payload, caller, state, due, created, attempts, key, cron, progress, reason"

const decodeEntry = Schema.decodeUnknownSync(Schema.toCodecJson(Entry))

/** Reads a row for authors. */
export const toEntry = (row: ReadonlyArray<SqlValue>): Entry => {
  const [id, lane, target, payload, caller, state, due, createdAt, attempts, key, cron, progress, reason] = row
  return decodeEntry({
    id: String(id),
    lane,
    target,
    payload: JSON.parse(String(payload)),
    caller: JSON.parse(String(caller)),
    state: state === "blocked" ? "waiting" : state === "sent" ? "running" : state,
    due,
    createdAt,
    attempts,
    key,
    cron,
    progress: progress === null ? null : JSON.parse(String(progress)),
    reason: reason === null ? null : JSON.parse(String(reason))
  })
}

/** The number of an id; `undefined` for a text that is none. */
export const rowOf = (id: EntryId): number | undefined => (/^\d{1,15}$/.test(id) ? Number(id) : undefined)

/** The id of a row. */
export const idOf = (row: number): EntryId => EntryId.make(String(row))

/** Why an entry could not be delivered, as text. */
export const reasonText = (reason: FailureReason): string => JSON.stringify(reason)
