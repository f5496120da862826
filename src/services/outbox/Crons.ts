/**
 * When jobs that repeat are due, and which of their occurrences run.
 * Plain decisions over a definition and the time, and the table of definitions.
 */
import * as EffectCron from "effect/Cron"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import { CronDefinition, CronState, type Timing } from "../../contract/CronDefinition.ts"
import type { InternalTable, SqlValue } from "../../contract/Transactional.ts"

/** The table's name. */
export const cronTable = "_dormouse_crons"

/** The table of jobs that repeat. */
export const crons: InternalTable = {
  name: cronTable,
  create:
    `CREATE TABLE ${cronTable} (name TEXT PRIMARY KEY NOT NULL, definition TEXT NOT NULL, declared INTEGER NOT NULL, ` +
    "next INTEGER NOT NULL, last INTEGER, skipped INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID; " +
    `CREATE INDEX ${cronTable}_by_next ON ${cronTable} (next)`
}

/** A row of the table. */
export interface CronRow {
  readonly name: string
  readonly definition: CronDefinition
  readonly isDeclared: boolean
  readonly next: number
  readonly last: number | null
  readonly skipped: number
}

/** The columns of `toCron`. */
export const cronColumns = "name, definition, declared, next, last, skipped"

/** Reads a row. The outbox alone writes them. */
export const toCron = (row: ReadonlyArray<SqlValue>): CronRow => {
  const [name, definition, declared, next, last, skipped] = row as ReadonlyArray<any>
  return { name, definition: JSON.parse(definition), isDeclared: declared === 1, next, last, skipped }
}

const decodeState = Schema.decodeUnknownSync(Schema.toCodecJson(CronState))

/** A row for authors. */
export const toState = (row: CronRow): CronState => decodeState(row)

const encodeDefinition = Schema.encodeSync(Schema.toCodecJson(CronDefinition))

/** The text of a definition: equal definitions have equal texts. */
export const definitionText = (definition: CronDefinition): string => JSON.stringify(encodeDefinition(definition))

const parsed = memoize((timing: Timing & { readonly _tag: "Cron" }) => {
  const { expression, onDstOverlap, zone } = timing
  return EffectCron.parseUnsafe(expression, zone, { onDstOverlap })
})

/** The first occurrence after a time. Occurrences of a period are counted from the one before. */
export const nextAfter = (timing: Timing, time: number): number =>
  timing._tag === "Every" ? time + timing.millis : EffectCron.next(parsed(timing), time).getTime()

/** The occurrence before one. */
const before = (timing: Timing, time: number): number =>
  timing._tag === "Every" ? time - timing.millis : EffectCron.prev(parsed(timing), time).getTime()

/** Milliseconds by which an occurrence may be late and still counts as on time. */
export const tolerance = 60_000

/** What a cron does now. */
export interface Due {
  /** The occurrences for which a job is added, the earliest first. */
  readonly occurrences: ReadonlyArray<number>
  readonly next: number
}

/** Which occurrences of a cron run, that is due. `missed` of the definition says how many of those that are late. */
export const dueAt = ({ definition, next }: Pick<CronRow, "definition" | "next">, now: number): Due => {
  const { missed, timing } = definition
  // A clock that was set back, or a period that began long ago.
  const following =
    timing._tag === "Every"
      ? next + (Math.floor((now - next) / timing.millis) + 1) * timing.millis
      : EffectCron.next(parsed(timing), now).getTime()
  const occurrences: Array<number> = []
  let occurrence = before(timing, following)
  while (occurrence >= next) {
    const isOnTime = now - occurrence <= tolerance
    // The latest counts as missed only when it is late.
    if (occurrences.length >= (isOnTime && occurrences.length === 0 ? Math.max(1, missed) : missed)) break
    occurrences.unshift(occurrence)
    occurrence = before(timing, occurrence)
  }
  return { occurrences, next: following }
}
