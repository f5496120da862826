/**
 * How the entries of each kind are delivered: jobs that call mutations, jobs that call actions, and the messages of queues.
 * A lane says how many run at the same time and for how long; `Deliveries.ts` runs it.
 */
import * as Schema from "effect/Schema"
import type { Around, JobsHost, PromisedCall } from "../../contract/Jobs.ts"
import { type Consumer, Handled, lanesOf } from "../../contract/Queue.ts"
import { actionLane, mutationLane } from "../../contract/Scheduler.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import type { FailedWith } from "./Decisions.ts"
import { type Delivery, idOf } from "./OutboxTable.ts"

/** How one attempt ended; `after` is the delay that its handler asked for, in milliseconds. */
export type Attempt = FailedWith | undefined

/** Entries that are delivered together. */
export interface Lane {
  /** The names of the lane in the table; entries of an earlier one are delivered first. */
  readonly names: readonly [string, ...Array<string>]
  /** How many calls run at the same time. */
  readonly concurrency: number
  /** Milliseconds that one call may take. */
  readonly timeout: number
  /** How many entries one call takes, and how many milliseconds the first of them waits for others. */
  readonly batch: { readonly size: number; readonly wait: number }
  /**
   * Runs the call of an entry in a transaction, with `begin` and `end` around its handler. Returns how it ended, a promise when
   * middleware waits. Absent for calls that run outside.
   */
  readonly transact?: (delivery: Delivery, around: Around) => Attempt | Promise<Attempt>
  /** Makes one call for entries outside of the object. Returns how it ended for each of them. */
  readonly call?: (deliveries: ReadonlyArray<Delivery>, signal: AbortSignal) => Promise<ReadonlyArray<Attempt>>
}

/** What an app says of its jobs. */
export interface JobLimits {
  /** Milliseconds that the action of a job may take. */
  readonly timeout: number
  /** Actions of jobs that run at the same time. */
  readonly concurrency: number
}

const single = { size: 1, wait: 0 }

/** The lanes of jobs. */
export const jobLanes = (host: JobsHost, { concurrency, timeout }: JobLimits): ReadonlyArray<Lane> => [
  {
    names: [mutationLane],
    concurrency: Number.POSITIVE_INFINITY,
    timeout,
    batch: single,
    transact: (delivery, around) => {
      const exit = host.mutate(callOf(delivery, JSON.parse(delivery.payload)), around)
      return exit instanceof Promise ? exit.then(attemptOf) : attemptOf(exit)
    }
  },
  {
    names: [actionLane],
    concurrency,
    timeout,
    batch: single,
    call: async ([delivery], signal) =>
      delivery === undefined ? [] : [attemptOf(await host.act(callOf(delivery, JSON.parse(delivery.payload)), signal))]
  }
]

/** The lane of a queue: its handler is an action that gets the messages of a batch. */
export const queueLane = (host: JobsHost, { name, settings }: Consumer<unknown>): Lane => ({
  names: lanesOf(name),
  ...settings,
  call: async (deliveries, signal) => {
    const [first] = deliveries
    if (first === undefined) return []
    const messages = deliveries.map(({ attempts, id, payload }) => ({
      id: idOf(id),
      attempt: attempts + 1,
      payload: JSON.parse(payload)
    }))
    const exit = await host.act(callOf(first, { messages }), signal)
    if (exit?._tag !== "Success") return deliveries.map(() => attemptOf(exit))
    return decodeHandled(exit.value).map((handled) => handled ?? undefined)
  }
})

const decodeHandled = Schema.decodeUnknownSync(Schema.Array(Handled))

const callOf = ({ caller, id, span, target }: Delivery, payload: unknown): PromisedCall => ({
  id,
  target,
  payload,
  caller,
  span
})

/** How a call ended. Declared errors are kept as JSON; the log has the causes of all others. */
const attemptOf = (exit: EncodedExit | undefined): Attempt => {
  if (exit === undefined) return { kind: "cut", detail: "it ended without an answer" }
  if (exit._tag === "Success") return undefined
  const [cause] = exit.cause
  if (cause === undefined || cause._tag === "Interrupt") return { kind: "cut", detail: "it was interrupted" }
  const error: any = cause._tag === "Fail" ? cause.error : cause.defect
  const reason: unknown = error?._tag === "CallError" ? error.reason?._tag : undefined
  const detail = JSON.stringify(error)
  if (reason === "UnknownRpc") return { kind: "unknown", detail }
  return { kind: reason === "PayloadInvalid" ? "payload" : "failed", detail }
}
