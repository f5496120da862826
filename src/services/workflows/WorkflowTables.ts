/**
 * The tables of workflows, and their rows as data: executions, and the steps that an execution has taken.
 * A step is named by what it is: the result of an activity, the completion of a deferred, a clock, or another execution.
 */
import * as Schema from "effect/Schema"
import { Execution } from "../../contract/Executions.ts"
import type { InternalTable, SqlValue } from "../../contract/Transactional.ts"
import { outboxTable } from "../outbox/OutboxTable.ts"

/** The table of executions. */
export const executionTable = "_dormouse_workflows"
/** The table of their steps. */
export const stepTable = "_dormouse_workflow_steps"

/**
 * Executions. `state` is `queued` (a run was added to the outbox), `running`, `suspended` or `done`; `entry` is the run in the
 * outbox. `woken` says what happened while it ran: nothing, something that it may wait for (1), or a request to resume (2).
 * `interrupted` is 1 for a request that waits for the next suspension, and 2 for one that does not.
 */
export const executions: InternalTable = {
  name: executionTable,
  create: [
    `CREATE TABLE ${executionTable} (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, ` +
      "workflow TEXT NOT NULL, payload TEXT NOT NULL, caller TEXT NOT NULL, state TEXT NOT NULL, entry INTEGER NOT NULL, " +
      "started INTEGER NOT NULL, ended INTEGER, runs INTEGER NOT NULL DEFAULT 0, woken INTEGER NOT NULL DEFAULT 0, " +
      "interrupted INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, result TEXT)",
    `CREATE INDEX ${executionTable}_by_ended ON ${executionTable} (ended) WHERE ended IS NOT NULL`,
    `CREATE INDEX ${executionTable}_by_state ON ${executionTable} (state, number)`
  ].join("; ")
}

/** Steps. `exit` is the JSON of a result, `entry` the job of a clock. Both are null for another execution. */
export const steps: InternalTable = {
  name: stepTable,
  create: [
    `CREATE TABLE ${stepTable} (execution TEXT NOT NULL, name TEXT NOT NULL, exit TEXT, entry INTEGER, ` +
      "PRIMARY KEY (execution, name))",
    `CREATE INDEX ${stepTable}_by_link ON ${stepTable} (name) WHERE exit IS NULL AND entry IS NULL`
  ].join("; ")
}

/** The names of steps. */
export const stepName = {
  activity: (name: string, attempt: number): string => `activity ${attempt} ${name}`,
  deferred: (name: string): string => `deferred ${name}`,
  clock: (name: string): string => `clock ${name}`,
  /** Another execution, whose end is waited for. */
  child: (id: string): string => `child ${id}`,
  /** Another execution that was only started. */
  detached: (id: string): string => `detached ${id}`
}

/** What is known of an execution. */
export interface ExecutionRow {
  readonly id: string
  readonly workflow: string
  /** JSON. */
  readonly payload: string
  /** JSON. */
  readonly caller: string
  readonly state: "queued" | "running" | "suspended" | "done"
  readonly entry: number
  readonly runs: number
  readonly woken: 0 | 1 | 2
  readonly interrupted: 0 | 1 | 2
  /** Whether it was suspended by a failure, and only a request resumes it. */
  readonly failed: 0 | 1
  /** JSON of the result. */
  readonly result: string | null
}

/** The columns of `toExecutionRow`. */
export const executionColumns = "id, workflow, payload, caller, state, entry, runs, woken, interrupted, failed, result"

/** Reads a row. `TransactionWorkflows` alone writes them. */
export const toExecutionRow = (row: ReadonlyArray<SqlValue>): ExecutionRow => {
  const [id, workflow, payload, caller, state, entry, runs, woken, interrupted, failed, result] =
    row as ReadonlyArray<any>
  return { id, workflow, payload, caller, state, entry, runs, woken, interrupted, failed, result }
}

/** Selects what `toExecution` reads: executions `e`, with the reason of runs that were given up as `reason`. */
export const selectExecutions =
  "SELECT e.id, e.workflow, e.state, e.payload, e.caller, e.interrupted, e.started, e.ended, e.runs, " +
  `(SELECT count(*) FROM ${stepTable} s WHERE s.execution = e.id AND s.name GLOB 'activity *'), o.reason ` +
  `FROM ${executionTable} e LEFT JOIN ${outboxTable} o ON o.id = e.entry AND o.state = 'failed' ` +
  "AND e.state IN ('queued', 'running')"

const decodeExecution = Schema.decodeUnknownSync(Schema.toCodecJson(Execution))

/** Reads an execution for authors. */
export const toExecution = (row: ReadonlyArray<SqlValue>): Execution => {
  const [id, workflow, state, payload, caller, interrupted, startedAt, endedAt, runs, activities, reason] = row
  return decodeExecution({
    id,
    workflow,
    state: reason !== null ? "failed" : state === "queued" ? "running" : state,
    payload: JSON.parse(String(payload)),
    caller: JSON.parse(String(caller)),
    isInterrupted: interrupted !== 0,
    startedAt,
    endedAt,
    runs,
    activities,
    reason: reason === null ? null : JSON.parse(String(reason))
  })
}
