/**
 * Workflows of Effect for an app: `App.make({ jobs: Workflows.make({ workflows: [OrderLive] }) })`. Executions are rows of the
 * tenant, their runs are messages of a queue, and their clocks jobs: one that waits costs nothing else.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { memoize } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import * as Api from "../contract/Api.ts"
import { Executions, ExecutionsWriter } from "../contract/Executions.ts"
import type { Jobs } from "../contract/Jobs.ts"
import type { ActionServices, WithWorkflows } from "../contract/Kind.ts"
import type { OutboxWriter } from "../contract/Outbox.ts"
import { defaultRetry, delaysOf } from "../contract/Retries.ts"
import type { Any, Transactional, Tx } from "../contract/Transactional.ts"
import * as BaseJobs from "./Jobs.ts"
import { outboxOf } from "./outbox/OutboxTransactional.ts"
import { storeEngine } from "./workflows/StoreEngine.ts"
import { TransactionWorkflows, type WorkflowSettings } from "./workflows/TransactionWorkflows.ts"
import { CurrentRunHost, runner } from "./workflows/WorkflowRunner.ts"
import { CurrentWorkflows, handlers, storeOver, WorkflowsApi } from "./workflows/WorkflowsApi.ts"
import { executions, steps } from "./workflows/WorkflowTables.ts"

export {
  discard,
  Execution,
  ExecutionFilter,
  ExecutionId,
  ExecutionState,
  executionId,
  get,
  interrupt,
  list,
  poll,
  resume,
  start
} from "../contract/Workflows.ts"

/** What `make` takes besides the options of `Jobs.make`. */
export interface WorkflowsOptions<W, R> extends BaseJobs.JobsOptions<R> {
  /** The workflows, from `toLayer` of each. */
  readonly workflows: ReadonlyArray<Layer.Layer<never, never, W>>
  /** How runs are handled: a run is what happens between two waits of an execution. */
  readonly runs?: {
    /** How long a run may take: 5 minutes unless given. Then it is cut, and tried again from what it has recorded. */
    readonly timeout?: Duration.Input
    /** How many executions run at the same time in a tenant: 16 unless given. Those that wait do not count. */
    readonly concurrency?: number
    /** The delays after which a run is tried again that was cut: from 1 second on, doubled up to 5 minutes, unless given. */
    readonly retry?: Schedule.Schedule<unknown, number>
    /** How often a run is tried, 20 unless given. After that its execution is `failed` until it is resumed. */
    readonly maxAttempts?: number
  }
  /** How long the result of an execution is kept: 30 days unless given. Until then its idempotency key starts nothing. */
  readonly keep?: Duration.Input
}

/** What layers of workflows may require without the app providing it. */
type Provided = WorkflowEngine | ActionServices | OutboxWriter | Scope

/** Makes the jobs of an app with workflows. Takes the options of `Jobs.make` as well. */
export const make = <W = never, R = never>(
  options: WorkflowsOptions<W, R>
): Jobs<R | Exclude<W, Provided>> & WithWorkflows => {
  const { keep = "30 days", queues = [], runs = {}, workflows, ...rest } = options
  const { concurrency = 16, maxAttempts = 20, retry = defaultRetry, timeout = "5 minutes" } = runs
  const settings = {
    delays: Effect.runSync(delaysOf(retry, maxAttempts - 1)),
    keep: Duration.toMillis(Duration.fromInputUnsafe(keep))
  }
  const jobs = BaseJobs.make<R>({
    ...rest,
    queues: [...queues, runner(workflows, { concurrency, maxAttempts, retry, timeout })]
  })
  return {
    ...jobs,
    transactional: [...jobs.transactional, ...services(settings)],
    api: Api.merge(jobs.api, WorkflowsApi),
    handlers: Layer.merge(jobs.handlers, handlers),
    servicesOver: (calls) => {
      const store = storeOver(calls)
      return jobs
        .servicesOver(calls)
        .pipe(
          Context.add(CurrentRunHost, { store, servicesOver: (change) => jobs.servicesOver(change(calls)) }),
          Context.add(WorkflowEngine, storeEngine(store))
        )
    },
    "~effect-dormouse/Workflows": true
  }
}

/** The services that take part in transactions. */
const services = (settings: WorkflowSettings): ReadonlyArray<Any> => {
  /** One for all tags. */
  const open = memoize((tx: Tx) => new TransactionWorkflows(tx, outboxOf(tx), settings))
  const workflows: Transactional<CurrentWorkflows, TransactionWorkflows> = {
    tag: CurrentWorkflows,
    tables: [executions, steps],
    open
  }
  const readers: Transactional<Executions, Executions["Service"]> = { tag: Executions, tables: [], open }
  const writers: Transactional<ExecutionsWriter, ExecutionsWriter["Service"]> = {
    tag: ExecutionsWriter,
    tables: [],
    open
  }
  const engine: Transactional<WorkflowEngine, WorkflowEngine["Service"]> = {
    tag: WorkflowEngine,
    tables: [],
    open: (tx) => storeEngine(open(tx))
  }
  return [workflows, readers, writers, engine]
}
