/**
 * Workflows in one transaction: executions, their steps, and the entries of the outbox that run and wake them.
 * Everything here commits or rolls back with the transaction.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { Auth, system } from "../../contract/Auth.ts"
import type { Execution, ExecutionFilter, Executions, ExecutionsWriter } from "../../contract/Executions.ts"
import { mutationLane } from "../../contract/PromisedCalls.ts"
import { consumerTag, lanesOf } from "../../contract/Queue.ts"
import type { SqlValue, Tx } from "../../contract/Transactional.ts"
import { idOf, outboxTable } from "../outbox/OutboxTable.ts"
import type { TransactionOutbox } from "../outbox/TransactionOutbox.ts"
import type { Begun, Clock, Ended, RunStore, Started, Step } from "./WorkflowStore.ts"
import {
  type ExecutionRow,
  executionColumns,
  executionTable,
  selectExecutions,
  stepName,
  stepTable,
  toExecution,
  toExecutionRow
} from "./WorkflowTables.ts"

/** The queue of runs. */
export const runQueue = "~workflows"

/** The mutation of a clock that is due. */
export const clockTag = "~workflow.tick"

/** The JSON of the exit with which a clock completes its deferred. */
const clockExit = { _tag: "Success", value: null }

/** Characters of the results that a run is given at its begin. It asks for the others. */
const stepChars = 1_000_000

/** Executions that are forgotten when another one ends. */
const forgottenAtOnce = 10

/** Executions that `list` returns unless told otherwise. */
const defaultTake = 100

/** The last millisecond of the year 9999. */
const maxTime = 253_402_300_799_999

/** What an app says of its workflows. */
export interface WorkflowSettings {
  /** Milliseconds before each retry of a run that was cut. */
  readonly delays: ReadonlyArray<number>
  /** Milliseconds for which the result of an execution is kept. */
  readonly keep: number
}

type Wake = 1 | 2

/** The workflows of one transaction. */
export class TransactionWorkflows implements RunStore {
  private readonly tx: Tx
  private readonly outbox: TransactionOutbox
  private readonly settings: WorkflowSettings

  constructor(tx: Tx, outbox: TransactionOutbox, settings: WorkflowSettings) {
    this.tx = tx
    this.outbox = outbox
    this.settings = settings
  }

  // --- what handlers read

  readonly get: Executions["Service"]["get"] = (id) =>
    Effect.sync(() => {
      this.tx.recordRead(executionTable, id)
      return this.select("WHERE e.id = ?", [id])[0]
    })

  readonly list: Executions["Service"]["list"] = ({ after, state, take = defaultTake, workflow } = {}) =>
    Effect.sync(() => {
      this.tx.recordRead(executionTable)
      const conditions: Array<string> = [statesOf(state)]
      const params: Array<SqlValue> = []
      const add = (condition: string, param: SqlValue) => {
        conditions.push(condition)
        params.push(param)
      }
      if (workflow !== undefined) add("e.workflow = ?", workflow)
      if (after !== undefined) add(`e.number > (SELECT number FROM ${executionTable} WHERE id = ?)`, after)
      return this.select(`WHERE ${conditions.join(" AND ")} ORDER BY e.number LIMIT ?`, [...params, take])
    })

  readonly result = (id: string): Effect.Effect<Schema.Json | undefined> =>
    Effect.sync(() => {
      this.tx.recordRead(executionTable, id)
      const result = this.find(id)?.result ?? null
      return result === null ? undefined : JSON.parse(result)
    })

  private select(rest: string, params: ReadonlyArray<SqlValue>): ReadonlyArray<Execution> {
    // Whether runs were given up is in the outbox.
    this.tx.recordRead(outboxTable)
    return this.tx.query(`${selectExecutions} ${rest}`, params).map(toExecution)
  }

  // --- what handlers and runs write

  readonly start = ({ id, parent, payload, workflow }: Started): Effect.Effect<Schema.Json | undefined> =>
    Effect.map(caller, (caller) => {
      this.checkWritable()
      // A parent that replays must find what it has started, as long as it runs.
      const link = parent && (parent.waits ? stepName.child(id) : stepName.detached(id))
      if (parent !== undefined && link !== undefined) this.insertStep(parent.id, link, null, null)
      const known = this.find(id)
      if (known !== undefined) return known.state === "done" ? JSON.parse(String(known.result)) : undefined
      const text = JSON.stringify(caller)
      this.write(
        id,
        `INSERT INTO ${executionTable} (id, workflow, payload, caller, state, entry, started) VALUES (?, ?, ?, ?, 'queued', ?, ?)`,
        [id, workflow, JSON.stringify(payload), text, this.addRun(id, text), this.tx.now]
      )
      return undefined
    })

  readonly interrupt = (id: string, isUnsafe = false) =>
    Effect.sync(() => {
      this.checkWritable()
      const row = this.find(id)
      if (row === undefined || row.state === "done") return false
      this.write(id, `UPDATE ${executionTable} SET interrupted = max(interrupted, ?) WHERE id = ?`, [
        isUnsafe ? 2 : 1,
        id
      ])
      return this.wake(id, 2)
    })

  readonly resume = (id: string) =>
    Effect.sync(() => {
      this.checkWritable()
      return this.wake(id, 2)
    })

  readonly complete = ({ exit, id, name }: Step): Effect.Effect<Schema.Json> =>
    Effect.sync(() => {
      this.checkWritable()
      // One may be completed before its execution starts.
      if (this.find(id)?.state === "done") return exit
      const step = stepName.deferred(name)
      if (!this.insertStep(id, step, JSON.stringify(exit), null)) {
        return JSON.parse(String(this.findStep(id, step)?.exit))
      }
      this.wake(id, 1)
      return exit
    })

  readonly setClock = ({ deferred, id, millis, name }: Clock) =>
    Effect.sync(() => {
      this.checkWritable()
      const row = this.find(id)
      if (row === undefined || row.state === "done" || this.findStep(id, stepName.clock(name)) !== undefined) return
      const due = Math.ceil(this.tx.now + (millis ?? Number.POSITIVE_INFINITY))
      const entry =
        due > maxTime
          ? null
          : this.outbox.insert({ lane: mutationLane, target: clockTag, payload: { id, deferred }, caller: system, due })
      this.insertStep(id, stepName.clock(name), null, entry)
    })

  /** A clock is due. */
  readonly tick = (id: string, deferred: string) =>
    Effect.asVoid(this.complete({ id, name: deferred, exit: clockExit }))

  readonly discard: ExecutionsWriter["Service"]["discard"] = (id) =>
    Effect.sync(() => {
      this.checkWritable()
      const row = this.find(id)
      if (row === undefined) return false
      if (row.state !== "done") void Effect.runSync(this.outbox.remove(idOf(row.entry)))
      this.deleteSteps(id)
      this.write(id, `DELETE FROM ${executionTable} WHERE id = ?`, [id])
      this.wakeParents(id)
      return true
    })

  // --- what a run does

  readonly begin = (id: string): Effect.Effect<Begun | undefined> =>
    Effect.sync(() => {
      const row = this.find(id)
      // A run that was cut after its end is delivered again.
      if (row === undefined || row.state === "suspended" || row.state === "done") return undefined
      this.write(
        id,
        `UPDATE ${executionTable} SET state = 'running', runs = runs + 1, woken = 0, result = NULL WHERE id = ?`,
        [id]
      )
      const sql = `SELECT name, exit FROM ${stepTable} WHERE execution = ? AND exit IS NOT NULL ORDER BY rowid`
      const steps: Array<Begun["steps"][number]> = []
      let chars = 0
      let isAll = true
      for (const [name, exit] of this.tx.query(sql, [id])) {
        chars += String(exit).length
        if (chars > stepChars) isAll = false
        else steps.push({ name: String(name), exit: JSON.parse(String(exit)) })
      }
      const { interrupted, payload, runs, workflow } = row
      return { workflow, payload: JSON.parse(payload), run: runs + 1, interrupted, steps, isAll }
    })

  readonly step = (id: string, name: string): Effect.Effect<Schema.Json | undefined> =>
    Effect.sync(() => {
      const exit = this.findStep(id, name)?.exit ?? null
      return exit === null ? undefined : JSON.parse(exit)
    })

  readonly record = ({ exit, id, name }: Step): Effect.Effect<Schema.Json | undefined> =>
    Effect.sync(() => {
      const row = this.find(id)
      if (row === undefined || row.state === "done") return undefined
      if (this.insertStep(id, name, JSON.stringify(exit), null)) return exit
      return JSON.parse(String(this.findStep(id, name)?.exit))
    })

  readonly end = ({ id, interrupted, isDone, isFailed, result, run }: Ended) =>
    Effect.sync(() => {
      const row = this.find(id)
      // A later run has begun: it decides.
      if (row === undefined || row.state !== "running" || row.runs !== run) return
      // Its message ends with it: after a crash the next run does not wait until this one counts as cut.
      const message = this.outbox.find(row.entry, "running")
      if (message !== undefined) this.outbox.end(message)
      if (isDone) {
        // A request that does not wait came while it ran.
        if (row.interrupted === 2 && interrupted < 2) this.queue(row)
        else this.finish(id, JSON.stringify(result))
      } else if (row.woken === 2 || (row.woken === 1 && !isFailed)) this.queue(row)
      else {
        this.write(id, `UPDATE ${executionTable} SET state = 'suspended', failed = ?, result = ? WHERE id = ?`, [
          isFailed ? 1 : 0,
          JSON.stringify(result),
          id
        ])
      }
    })

  private finish(id: string, result: string): void {
    this.write(id, `UPDATE ${executionTable} SET state = 'done', failed = 0, result = ?, ended = ? WHERE id = ?`, [
      result,
      this.tx.now,
      id
    ])
    this.deleteSteps(id)
    this.wakeParents(id)
    this.forget()
  }

  /** Deletes executions that ended long ago, unless one that has not ended has started them: it would start them again. */
  private forget(): void {
    const isLinked =
      `EXISTS (SELECT 1 FROM ${stepTable} s WHERE s.name IN (? || e.id, ? || e.id) ` +
      "AND s.exit IS NULL AND s.entry IS NULL)"
    const rows = this.tx.query(
      `SELECT e.id FROM ${executionTable} e WHERE e.ended <= ? AND NOT ${isLinked} ORDER BY e.ended LIMIT ?`,
      [this.tx.now - this.settings.keep, stepName.child(""), stepName.detached(""), forgottenAtOnce]
    )
    for (const [id] of rows) {
      this.write(String(id), `DELETE FROM ${executionTable} WHERE id = ?`, [id ?? null])
      this.tx.query(`DELETE FROM ${stepTable} WHERE execution = ?`, [id ?? null])
    }
  }

  // --- rows

  private find(id: string): ExecutionRow | undefined {
    const [row] = this.tx.query(`SELECT ${executionColumns} FROM ${executionTable} WHERE id = ?`, [id])
    return row && toExecutionRow(row)
  }

  private findStep(id: string, name: string): { readonly exit: string | null } | undefined {
    const [row] = this.tx.query(`SELECT exit FROM ${stepTable} WHERE execution = ? AND name = ?`, [id, name])
    return row && { exit: row[0] === null ? null : String(row[0]) }
  }

  /** Adds a step unless there is one of its name. */
  private insertStep(id: string, name: string, exit: string | null, entry: number | null): boolean {
    const added = this.write(
      id,
      `INSERT INTO ${stepTable} (execution, name, exit, entry) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1`,
      [id, name, exit, entry]
    )
    return added.length > 0
  }

  /** Deletes the steps of an execution, with the clocks that are still to come. */
  private deleteSteps(id: string): void {
    const sql = `DELETE FROM ${stepTable} WHERE execution = ? RETURNING entry`
    for (const [entry] of this.write(id, sql, [id])) {
      if (typeof entry === "number") void Effect.runSync(this.outbox.remove(idOf(entry)))
    }
  }

  /** Runs an execution soon, or again when it runs now. Returns whether there was anything to wake. */
  private wake(id: string, wake: Wake): boolean {
    const row = this.find(id)
    if (row === undefined || row.state === "done") return false
    if (row.state === "suspended") {
      // What a failure has suspended waits for a request.
      if (wake === 1 && row.failed === 1) return false
      this.queue(row)
      return true
    }
    this.write(id, `UPDATE ${executionTable} SET woken = max(woken, ?) WHERE id = ?`, [wake, id])
    // Its runs were given up, or somebody has removed the entry.
    const [entry] = this.tx.query(`SELECT state FROM ${outboxTable} WHERE id = ?`, [row.entry])
    const state = entry?.[0]
    if (wake === 2 && (state === "failed" || state === "waiting")) {
      void Effect.runSync(this.outbox.reschedule(idOf(row.entry)))
    } else if (wake === 2 && state === undefined) this.queue(row)
    return true
  }

  private wakeParents(id: string): void {
    const parents = this.tx.query(
      `SELECT execution FROM ${stepTable} WHERE name = ? AND exit IS NULL AND entry IS NULL`,
      [stepName.child(id)]
    )
    for (const [parent] of parents) this.wake(String(parent), 1)
  }

  private queue({ caller, id }: ExecutionRow): void {
    this.write(id, `UPDATE ${executionTable} SET state = 'queued', failed = 0, result = NULL, entry = ? WHERE id = ?`, [
      this.addRun(id, caller),
      id
    ])
  }

  /** Adds a run to the outbox. The runs of an execution follow each other. */
  private addRun(id: string, caller: string): number {
    return this.outbox.insert({
      lane: lanesOf(runQueue)[1],
      target: consumerTag(runQueue),
      payload: { id },
      caller: JSON.parse(caller),
      key: id,
      delays: this.settings.delays
    })
  }

  private write(id: string, sql: string, params: ReadonlyArray<SqlValue>) {
    this.tx.recordWrite(executionTable, id)
    return this.tx.query(sql, params)
  }

  private checkWritable(): void {
    if (this.tx.readOnly) throw new Error("a query cannot start, complete or steer a workflow: make it a mutation")
  }
}

/** Whoever the transaction is run for. */
const caller = Effect.flatMap(Effect.serviceOption(Auth), (auth) =>
  Option.isSome(auth) ? auth.value.identity : Effect.succeed(system)
)

const statesOf = (state: ExecutionFilter["state"]): string => {
  if (state === undefined) return "e.state <> 'done'"
  if (state === "failed") return "o.id IS NOT NULL"
  if (state === "running") return "e.state IN ('queued', 'running') AND o.id IS NULL"
  return `e.state = '${state}'`
}
