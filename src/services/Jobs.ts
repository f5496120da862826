/**
 * Jobs and queues for an app: `App.make({ jobs: Jobs.make({ crons, queues }) })`. Handlers can then use `Scheduler`, `Cron` and
 * the queues; without it a handler that uses them does not compile.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type { Declared } from "../contract/Cron.ts"
import type { Jobs } from "../contract/Jobs.ts"
import { OutboxWriter } from "../contract/Outbox.ts"
import type { Consumer } from "../contract/Queue.ts"
import { Deliveries } from "./outbox/Deliveries.ts"
import { jobLanes, queueLane } from "./outbox/Lanes.ts"
import { handlers, OutboxApi, writerOver } from "./outbox/OutboxApi.ts"
import { outboxServices } from "./outbox/OutboxTransactional.ts"

export type { Jobs, JobsHost, JobsRuntime } from "../contract/Jobs.ts"
export { type JobsLayerOptions, layer } from "./JobsLayer.ts"

/** What `make` takes. */
export interface JobsOptions<R> {
  /** Jobs that repeat in each tenant, from `Cron.job` and `Cron.every`. */
  readonly crons?: ReadonlyArray<Declared>
  /** Queues with their handlers, from `toLayer` of a queue. */
  readonly queues?: ReadonlyArray<Consumer<R>>
  /** How long the action of a job may take: 5 minutes unless given. Then it is interrupted, which counts as a failure. */
  readonly timeout?: Duration.Input
  /** How many actions of jobs run at the same time in a tenant: 16 unless given. */
  readonly concurrency?: number
  /** How long jobs and messages are kept that failed for good: 30 days unless given. */
  readonly failedRetention?: Duration.Input
}

/** Makes the jobs and queues of an app. Throws when two have the same name. */
export const make = <R = never>(options: JobsOptions<R> = {}): Jobs<R> => {
  const { concurrency = 16, crons = [], failedRetention = "30 days", queues = [], timeout = "5 minutes" } = options
  checkNames("crons", crons)
  checkNames("queues", queues)
  const limits = { concurrency, timeout: Duration.toMillis(Duration.fromInputUnsafe(timeout)) }
  return {
    crons,
    queues,
    transactional: outboxServices(Duration.toMillis(Duration.fromInputUnsafe(failedRetention))),
    api: OutboxApi,
    handlers,
    servicesOver: (calls) => Context.make(OutboxWriter, writerOver(calls)),
    open: (host, broker, more = []) =>
      new Deliveries({
        host,
        crons,
        lanes: [...jobLanes(host, limits), ...[...queues, ...more].map((queue) => queueLane(host, queue, broker))]
      })
  }
}

/** Jobs with one more queue, of another part of the app. */
export const withQueue = (jobs: Jobs, queue: Consumer<any>): Jobs => ({
  ...jobs,
  queues: [...jobs.queues, queue],
  open: (host, broker, more = []) => jobs.open(host, broker, [...more, queue])
})

const checkNames = (what: string, declared: ReadonlyArray<{ readonly name: string }>): void => {
  const names = new Set<string>()
  for (const { name } of declared) {
    if (names.has(name)) throw new Error(`two ${what} are named ${name}`)
    names.add(name)
  }
}
