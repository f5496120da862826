/**
 * The outbox in one transaction: what handlers add and remove, and how the engine records deliveries.
 * Everything here commits or rolls back with the transaction.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { Declared } from "../../contract/Cron.ts"
import type { CronDefinition } from "../../contract/CronDefinition.ts"
import type { EntryFilter, EntryId, NewEntry } from "../../contract/Outbox.ts"
import { mutationLane } from "../../contract/PromisedCalls.ts"
import type { Outcome } from "../../contract/Queue.ts"
import type { Expiring, SqlValue, Tx } from "../../contract/Transactional.ts"
import { type CronRow, cronColumns, cronTable, definitionText, dueAt, nextAfter, toCron, toState } from "./Crons.ts"
import { type FailedWith, retryAfter } from "./Decisions.ts"
import {
  type Delivery,
  deliveryColumns,
  entryColumns,
  idOf,
  outboxChanges,
  outboxTable,
  reasonText,
  rowOf,
  toDelivery,
  toEntry
} from "./OutboxTable.ts"

/** How long the name of an entry that has ended is kept, in milliseconds: a day. */
export const nameRetention = 24 * 60 * 60 * 1000

/** Failed occurrences of one cron that are kept. */
export const failedOccurrences = 100

/** Entries that `list` returns unless told otherwise. */
const defaultTake = 100

/** The outbox of one transaction. */
export class TransactionOutbox {
  /** The transaction. */
  readonly tx: Tx
  /** Milliseconds for which what failed is kept. */
  failedRetention = nameRetention
  private readonly span: () => string | null

  /** `span` is the JSON of the call's span, if there is one. */
  constructor(tx: Tx, span: () => string | null = () => null) {
    this.tx = tx
    this.span = span
  }

  // --- what handlers do

  readonly get = (id: EntryId) =>
    Effect.sync(() => {
      this.tx.recordRead(outboxTable)
      const rows = this.tx.query(`SELECT ${entryColumns} FROM ${outboxTable} WHERE id = ? AND state <> 'done'`, [
        rowOf(id) ?? -1
      ])
      return Option.map(Option.fromUndefinedOr(rows[0]), toEntry)
    })

  readonly list = ({ after, lane, state, take = defaultTake }: EntryFilter = {}) =>
    Effect.sync(() => {
      this.tx.recordRead(outboxTable)
      const states = state === undefined ? "state <> 'done' AND state <> 'failed'" : statesOf[state]
      const conditions = [states, "id > ?", ...(lane === undefined ? [] : ["lane = ?"])]
      const params: Array<SqlValue> = [(after && rowOf(after)) ?? 0, ...(lane === undefined ? [] : [lane])]
      const sql = `SELECT ${entryColumns} FROM ${outboxTable} WHERE ${conditions.join(" AND ")} ORDER BY id LIMIT ?`
      return this.tx.query(sql, [...params, take]).map(toEntry)
    })

  readonly add = (entry: NewEntry) => Effect.sync(() => idOf(this.insert(entry)))

  readonly remove = (id: EntryId) =>
    Effect.sync(() => {
      const [row] = this.write(`DELETE FROM ${outboxTable} WHERE id = ? AND ${isIdle} RETURNING lane, key`, [
        rowOf(id) ?? -1
      ])
      if (row !== undefined) this.release(String(row[0]), row[1] ?? null)
      return row !== undefined
    })

  readonly reschedule = (id: EntryId, due: number = this.tx.now) =>
    Effect.sync(() => {
      const changed = this.write(
        `UPDATE ${outboxTable} SET due = ?1, wake = CASE state WHEN 'blocked' THEN NULL ELSE ?1 END, ` +
          "attempts = CASE state WHEN 'failed' THEN 0 ELSE attempts END, " +
          `state = CASE state WHEN 'failed' THEN 'waiting' ELSE state END WHERE id = ?2 AND ${isIdle} RETURNING id`,
        [due, rowOf(id) ?? -1]
      )
      return changed.length > 0
    })

  readonly edit = (id: EntryId, payload: Schema.Json) =>
    Effect.sync(() => {
      const sql = `UPDATE ${outboxTable} SET payload = ? WHERE id = ? AND ${isIdle} RETURNING id`
      return this.write(sql, [JSON.stringify(payload), rowOf(id) ?? -1]).length > 0
    })

  readonly progress = (id: EntryId, progress: Schema.Json) =>
    Effect.sync(() => {
      const text = JSON.stringify(progress)
      this.write(`UPDATE ${outboxTable} SET progress = ? WHERE id = ? AND state = 'running'`, [text, rowOf(id) ?? -1])
    })

  readonly crons = Effect.sync(() => {
    this.tx.recordRead(cronTable)
    return this.cronRows().map(toState)
  })

  readonly setCron = (name: string, definition: CronDefinition) =>
    Effect.sync(() => {
      const known = this.cron(name)
      if (known?.isDeclared === true) throw new Error(`the app declares the cron ${name}`)
      this.writeCron(name, definition, false)
    })

  readonly removeCron = (name: string) =>
    Effect.sync(() => {
      this.checkWritable()
      this.tx.recordWrite(cronTable)
      const sql = `DELETE FROM ${cronTable} WHERE name = ? AND declared = 0 RETURNING name`
      return this.tx.query(sql, [name]).length > 0
    })

  // --- what the engine does

  /** Makes the declared crons those of the app. One that did not change keeps its next time. */
  converge(declared: ReadonlyArray<Declared>): void {
    const names = new Set(declared.map(({ name }) => name))
    for (const { isDeclared, name } of this.cronRows()) {
      if (!isDeclared || names.has(name)) continue
      this.tx.recordWrite(cronTable)
      this.tx.query(`DELETE FROM ${cronTable} WHERE name = ?`, [name])
    }
    for (const { definition, name } of declared) this.writeCron(name, definition, true)
  }

  /** Adds the jobs of the crons that are due. */
  tick(): void {
    const { now } = this.tx
    for (const row of this.cronRows("WHERE next <= ? ORDER BY next", [now])) {
      const { definition, name } = row
      const { next, occurrences } = dueAt(row, now)
      const { caller, delays, lane, overlap, payload, target } = definition
      let [last, skipped]: [number | null, number] = [null, occurrences.length === 0 ? 1 : 0]
      for (const due of occurrences) {
        if (overlap === "skip" && this.isUnderWay(name)) {
          skipped++
          continue
        }
        const key = overlap === "queue" ? { key: `cron ${name}` } : {}
        this.insert({ lane, target, payload, caller, due, cron: name, ...key, ...(delays && { delays }) })
        last = due
      }
      this.tx.recordWrite(cronTable)
      this.tx.query(
        `UPDATE ${cronTable} SET next = ?, last = coalesce(?, last), skipped = skipped + ? WHERE name = ?`,
        [next, last, skipped, name]
      )
    }
  }

  private isUnderWay(cron: string): boolean {
    const sql = `SELECT 1 FROM ${outboxTable} WHERE cron = ? AND state IN ('waiting', 'blocked', 'running') LIMIT 1`
    return this.tx.query(sql, [cron]).length > 0
  }

  private cronRows(condition = "ORDER BY name", params: ReadonlyArray<SqlValue> = []): ReadonlyArray<CronRow> {
    return this.tx.query(`SELECT ${cronColumns} FROM ${cronTable} ${condition}`, params).map(toCron)
  }

  private cron(name: string): CronRow | undefined {
    return this.cronRows("WHERE name = ?", [name])[0]
  }

  private writeCron(name: string, definition: CronDefinition, isDeclared: boolean): void {
    this.checkWritable()
    const known = this.cron(name)
    const text = definitionText(definition)
    // What is due already stays due.
    const isSameTime = JSON.stringify(known?.definition.timing) === JSON.stringify(definition.timing)
    const next = known !== undefined && isSameTime ? known.next : nextAfter(definition.timing, this.tx.now)
    if (known !== undefined && definitionText(known.definition) === text && known.isDeclared === isDeclared) return
    this.tx.recordWrite(cronTable)
    this.tx.query(
      `INSERT INTO ${cronTable} (name, definition, declared, next) VALUES (?, ?, ?, ?) ` +
        "ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, declared = excluded.declared, next = excluded.next",
      [name, text, isDeclared ? 1 : 0, next]
    )
  }

  /** Adds an entry, and returns its row. */
  insert({ caller, completion, cron, delays, due = this.tx.now, key, lane, name, payload, target }: NewEntry): number {
    this.checkWritable()
    if (name !== undefined) {
      const [known] = this.tx.query(`SELECT id FROM ${outboxTable} WHERE target = ? AND name = ?`, [target, name])
      if (known !== undefined) return Number(known[0])
    }
    const isBlocked =
      key !== undefined &&
      this.tx.query(`SELECT 1 FROM ${outboxTable} WHERE lane = ? AND key = ? LIMIT 1`, [lane, key]).length > 0
    const columns: Record<string, SqlValue> = {
      lane,
      wake: isBlocked ? null : due,
      state: isBlocked ? "blocked" : "waiting",
      target,
      payload: JSON.stringify(payload),
      caller: JSON.stringify(caller),
      due,
      created: this.tx.now,
      attempts: 0
    }
    // Most entries have none of these: a shorter statement takes half of the time.
    if (key !== undefined) columns["key"] = key
    if (name !== undefined) columns["name"] = name
    if (delays !== undefined) columns["delays"] = JSON.stringify(delays)
    if (cron !== undefined) columns["cron"] = cron
    if (completion !== undefined) columns["completion"] = JSON.stringify(completion)
    const span = this.span()
    if (span !== null) columns["span"] = span
    const names = Object.keys(columns)
    this.tx.recordWrite(outboxTable)
    const [row] = this.tx.query(
      `INSERT INTO ${outboxTable} (${names.join()}) VALUES (${names.map(() => "?").join()}) RETURNING id`,
      Object.values(columns)
    )
    return Number(row?.[0])
  }

  /** The delivery of a row, if it is still in this state. */
  find(id: number, state: Delivery["state"]): Delivery | undefined {
    const rows = this.tx.query(`SELECT ${deliveryColumns} FROM ${outboxTable} WHERE id = ? AND state = ?`, [id, state])
    return rows[0] && toDelivery(rows[0])
  }

  /** A delivery begins. If nothing more is heard of it until `lease`, it counts as cut. */
  claim({ id }: Delivery, lease: number): void {
    this.write(
      `UPDATE ${outboxTable} SET state = 'running', attempts = attempts + 1, wake = ?, call = NULL WHERE id = ?`,
      [lease, id]
    )
  }

  /** A mutation runs in the next turn, and may take the object with it. */
  attempt({ id }: Delivery): true {
    this.write(`UPDATE ${outboxTable} SET attempts = attempts + 1 WHERE id = ?`, [id])
    return true
  }

  /** A mutation does not run in the next turn: another one is due before it. */
  takeAttemptBack(id: number): void {
    this.write(
      `UPDATE ${outboxTable} SET attempts = attempts - 1 WHERE id = ? AND state = 'waiting' AND attempts > 0`,
      [id]
    )
  }

  /** A delivery goes on for longer than it was claimed for. */
  extend({ id }: Delivery, lease: number): void {
    this.write(`UPDATE ${outboxTable} SET wake = ? WHERE id = ?`, [lease, id])
  }

  /** An entry was delivered. Its name, if it has one, is kept for a while. */
  end(delivery: Delivery): void {
    const { id, key, lane, name } = delivery
    this.complete(delivery, "done")
    if (name === null) this.write(`DELETE FROM ${outboxTable} WHERE id = ?`, [id])
    else {
      this.write(
        `UPDATE ${outboxTable} SET state = 'done', wake = ?, payload = 'null', key = NULL, reason = NULL, call = NULL WHERE id = ?`,
        [this.tx.now + nameRetention, id]
      )
    }
    this.release(lane, key)
  }

  /** An attempt failed: tries again later, or keeps the entry with the reason. Returns whether it will be tried again. */
  fail(delivery: Delivery, attempt: number, { after, ...reason }: FailedWith): boolean {
    const { attempts, cron, delays, id, key, lane } = delivery
    const delay = retryAfter({ attempt, delays, reason })
    if (delay !== undefined) {
      // Spread over a fifth, so that what failed together is not tried together.
      const spread = 0.9 + this.tx.random.nextDoubleUnsafe() / 5
      const due = this.tx.now + Math.ceil(after ?? delay * spread)
      this.write(
        `UPDATE ${outboxTable} SET state = 'waiting', wake = ?, due = ?, attempts = ?, reason = ?, call = NULL WHERE id = ?`,
        [due, due, Math.max(attempts, attempt), reasonText(reason), id]
      )
      return true
    }
    this.write(
      `UPDATE ${outboxTable} SET state = 'failed', wake = ?, key = NULL, attempts = ?, reason = ?, call = NULL WHERE id = ?`,
      [this.tx.now + this.failedRetention, Math.max(attempts, attempt), reasonText(reason), id]
    )
    if (cron !== null) this.trim(cron)
    this.complete(delivery, "failed")
    this.release(lane, key)
    return false
  }

  /** Deletes all but the last failed occurrences of a cron. */
  private trim(cron: string): void {
    const failed = `FROM ${outboxTable} WHERE cron = ?1 AND state = 'failed'`
    this.write(`DELETE ${failed} AND id <= (SELECT id ${failed} ORDER BY id DESC LIMIT 1 OFFSET ?2)`, [
      cron,
      failedOccurrences
    ])
  }

  /** Adds the job of the mutation that runs when an entry has ended. */
  private complete({ caller, completion, id }: Delivery, outcome: Outcome): void {
    if (completion === null) return
    const { payload, target } = completion
    // They were encoded with a place for both.
    this.insert({ lane: mutationLane, target, payload: { ...payload, message: idOf(id), outcome } as any, caller })
  }

  /** Deletes rows of another service that have ended. */
  sweep({ sweep }: Expiring): void {
    sweep(this.tx)
  }

  /** Deletes entries that have ended or failed, with the names that they kept. */
  forget(ids: ReadonlyArray<number>): void {
    for (const id of ids) this.write(`DELETE FROM ${outboxTable} WHERE id = ? AND state IN ('done', 'failed')`, [id])
  }

  /** The next entry of a key is not blocked any more. */
  private release(lane: string, key: SqlValue): void {
    if (key === null) return
    this.write(
      `UPDATE ${outboxTable} SET state = 'waiting', wake = due WHERE state = 'blocked' AND id = ` +
        `(SELECT id FROM ${outboxTable} WHERE lane = ? AND key = ? ORDER BY id LIMIT 1)`,
      [lane, key]
    )
  }

  /** Writes entries, with more than a new one. */
  write(sql: string, params: ReadonlyArray<SqlValue>) {
    this.checkWritable()
    this.tx.recordWrite(outboxTable)
    this.tx.recordWrite(outboxChanges)
    return this.tx.query(sql, params)
  }

  private checkWritable(): void {
    if (this.tx.readOnly) throw new Error("a query cannot schedule or send: make it a mutation")
  }
}

const statesOf = {
  waiting: "state IN ('waiting', 'blocked')",
  running: "state IN ('running', 'sent')",
  failed: "state = 'failed'"
} as const

/** Its delivery has not begun, or failed for good. */
const isIdle = "state IN ('waiting', 'blocked', 'failed')"
