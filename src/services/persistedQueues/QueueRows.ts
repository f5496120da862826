/**
 * The rows of persisted queues, and the statements over them. Each is one statement, and so a transaction of its own.
 * `at` is when a pending element may be delivered: also while it is claimed, and then the claim ends at this time.
 */
import type { InternalTable, SqlValue } from "../../contract/Transactional.ts"
import type { Database } from "../Database.ts"

/** The table's name. */
export const rowTable = "_dormouse_persisted_queue"

/**
 * One row for each element. `state`: `pending`, `completed` (kept so that its id is not added again) or `failed`. `at` is
 * when the state was entered, if it is not `pending`. `due`: the `at` of an element that nobody has claimed. `keep`: whether
 * the author chose the id.
 */
export const table: InternalTable = {
  name: rowTable,
  create: [
    `CREATE TABLE ${rowTable} (sequence INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL, keep INTEGER NOT NULL, ` +
      "element TEXT NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL, " +
      "claim TEXT, failure TEXT)",
    `CREATE UNIQUE INDEX ${rowTable}_by_id ON ${rowTable} (queue, id) WHERE keep = 1`,
    `CREATE INDEX ${rowTable}_by_time ON ${rowTable} (queue, at) WHERE state = 'pending'`,
    `CREATE INDEX ${rowTable}_by_end ON ${rowTable} (state, at) WHERE state <> 'pending'`
  ].join("; ")
}

/** An element that was claimed. */
export interface Claimed {
  readonly sequence: number
  /** Names this claim, and no other one. */
  readonly claim: string
  readonly id: string
  readonly keep: boolean
  /** JSON. */
  readonly element: string
  /** With this one. */
  readonly attempts: number
}

/** An element that is kept because it could not be processed. */
export interface DeadLetter {
  readonly id: string
  /** As the queue's schema encoded it. */
  readonly element: unknown
  readonly attempts: number
  /** Why the last attempt failed. */
  readonly failure: string
  /** In milliseconds since the epoch. */
  readonly failedAt: number
}

/** Characters of a failure that are stored. */
const maxFailure = 10_000
/** Rows that one statement of a clean-up deletes. */
const cleanupRows = 1000

const insert =
  `INSERT INTO ${rowTable} (queue, id, keep, element, state, at, due, attempts) ` +
  "VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?5, 0) ON CONFLICT (queue, id) WHERE keep = 1 DO NOTHING"
const claimFirst =
  `UPDATE ${rowTable} SET claim = ?1, attempts = attempts + 1, at = ?2 WHERE sequence = (SELECT sequence FROM ${rowTable} ` +
  "WHERE queue = ?3 AND state = 'pending' AND at <= ?4 ORDER BY at, sequence LIMIT 1) " +
  "RETURNING sequence, id, keep, element, attempts"
const firstTime = `SELECT at FROM ${rowTable} WHERE queue = ? AND state = 'pending' ORDER BY at LIMIT 1`
/** What a claim has settled, nobody else has claimed since. The claims of other rows have other names. */
const held = "WHERE sequence = ? AND claim = ?"
const complete = `UPDATE ${rowTable} SET state = 'completed', at = ?, claim = NULL, element = '', failure = NULL ${held}`
const remove = `DELETE FROM ${rowTable} ${held}`
const fail = `UPDATE ${rowTable} SET state = 'failed', at = ?, claim = NULL, failure = ? ${held}`
const retry = `UPDATE ${rowTable} SET at = ?, due = ?, claim = NULL, failure = ? ${held}`
const release = `UPDATE ${rowTable} SET at = due, claim = NULL, attempts = attempts - 1 ${held}`
const renew = `UPDATE ${rowTable} SET at = ? ${held}`
const removeEnded =
  `DELETE FROM ${rowTable} WHERE sequence IN (SELECT sequence FROM ${rowTable} WHERE state = ? AND state <> 'pending' ` +
  `AND at <= ? LIMIT ${cleanupRows}) RETURNING 1`
const listFailed =
  `SELECT id, element, attempts, failure, at FROM ${rowTable} WHERE queue = ? AND state = 'failed' ` +
  "AND state <> 'pending' ORDER BY at, sequence LIMIT ?"
const redeliver =
  `UPDATE ${rowTable} SET state = 'pending', at = ?1, due = ?1, attempts = 0 WHERE queue = ?2 AND id = ?3 ` +
  "AND state = 'failed' RETURNING 1"

type Held = Pick<Claimed, "sequence" | "claim">

/** The rows of a database's queues. The methods throw what the database throws. */
export const over = ({ all, run, transaction }: Database["Service"]) => {
  const failureText = (failure: string) => failure.slice(0, maxFailure).toWellFormed()
  const rows = {
    /** Adds an element unless the queue has its id. */
    add: (queue: string, id: string, keep: boolean, element: string, at: number): void =>
      run(insert, [queue, id, keep ? 1 : 0, element, at]),
    /** Claims the first element that may be delivered. */
    claim: (queue: string, claim: string, now: number, until: number): Claimed | undefined => {
      const row = all(claimFirst, [claim, until, queue, now]).rows[0]
      return row && { claim, ...toClaimed(row) }
    },
    /** When the first element may be delivered; `Infinity` if there is none. */
    next: (queue: string): number => Number(all(firstTime, [queue]).rows[0]?.[0] ?? Number.POSITIVE_INFINITY),
    /** The element was processed. Its row stays only for its id. */
    complete: ({ claim, keep, sequence }: Claimed, now: number): void =>
      keep ? run(complete, [now, sequence, claim]) : run(remove, [sequence, claim]),
    /** The element is kept as a dead letter. */
    fail: ({ claim, sequence }: Held, now: number, failure: string): void =>
      run(fail, [now, failureText(failure), sequence, claim]),
    /** The element may be delivered again at a time. */
    retry: ({ claim, sequence }: Held, at: number, failure: string): void =>
      run(retry, [at, at, failureText(failure), sequence, claim]),
    /** The element may be delivered as if it had not been claimed. */
    release: ({ claim, sequence }: Held): void => run(release, [sequence, claim]),
    /** Prolongs claims. Not those that somebody else has taken over meanwhile. */
    renew: (claims: Iterable<Held>, until: number): void =>
      transaction(() => {
        for (const { claim, sequence } of claims) run(renew, [until, sequence, claim])
      }),
    /** Deletes elements that entered a state by a time, a limited number. Returns whether there may be more. */
    removeEnded: (state: "completed" | "failed", by: number): boolean =>
      all(removeEnded, [state, by]).rows.length === cleanupRows,
    /** Dead letters, the oldest first. */
    failed: (queue: string, max: number): ReadonlyArray<DeadLetter> =>
      all(listFailed, [queue, max]).rows.map(([id, element, attempts, failure, at]) => ({
        id: String(id),
        element: parsed(String(element)),
        attempts: Number(attempts),
        failure: String(failure),
        failedAt: Number(at)
      })),
    /** Makes a dead letter an element that has not been delivered. Returns whether there was one. */
    redeliver: (queue: string, id: string, now: number): boolean => all(redeliver, [now, queue, id]).rows.length > 0
  }
  return rows
}

/** The rows of a database's queues. */
export type QueueRows = ReturnType<typeof over>

const toClaimed = ([sequence, id, keep, element, attempts]: ReadonlyArray<SqlValue>) => ({
  sequence: Number(sequence),
  id: String(id),
  keep: keep === 1,
  element: String(element),
  attempts: Number(attempts)
})

/** JSON that may be damaged: then it is shown as it is. */
const parsed = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}
