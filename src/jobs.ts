/**
 * Jobs and queues: the schedule of a tenant, and work that is done outside of transactions.
 * `Jobs.make` gives them to an app; `Scheduler`, `Cron` and `Queue` are what handlers and declarations use.
 */
export * as Cron from "./contract/Cron.ts"
export * as JobsAdmin from "./contract/JobsAdmin.ts"
export * as Queue from "./contract/Queue.ts"
export * as Scheduler from "./contract/Scheduler.ts"
export * as JobMetrics from "./services/JobMetrics.ts"
export * as Jobs from "./services/Jobs.ts"
