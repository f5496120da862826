/**
 * How the entries of each kind are delivered: jobs that call mutations, jobs that call actions, and the messages of queues.
 * A lane says how many run at the same time and for how long; `Deliveries.ts` runs it.
 */
import * as Schema from "effect/Schema"
import type { Around, Broker, JobsHost, PromisedCall } from "../../contract/Jobs.ts"
import type { FailureReason } from "../../contract/Outbox.ts"
import { actionLane, mutationLane } from "../../contract/PromisedCalls.ts"
import { type Consumer, Handled, lanesOf } from "../../contract/Queue.ts"
import type { EncodedExit } from "../../protocol/Exit.ts"
import type { FailedWith } from "./Decisions.ts"
import { type Delivery, idOf } from "./OutboxTable.ts"

/** Milliseconds beyond its timeout after which a call counts as cut. */
export const leaseMargin = 10_000

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
  /** Hands calls, by their ids, to the broker that carries them. Then nothing runs here. */
  readonly send?: (calls: ReadonlyArray<string>) => Promise<void>
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
export const queueLane = (host: JobsHost, { name, settings }: Consumer<unknown>, broker?: Broker): Lane => ({
  names: lanesOf(name),
  ...settings,
  ...(broker?.queues.has(name) && {
    send: (calls: ReadonlyArray<string>) =>
      broker.send(
        name,
        calls.map((call) => ({ ...host.session(), queue: name, call }))
      )
  }),
  call: async (deliveries, signal) => {
    const [first] = deliveries
    if (first === undefined) return []
    const messages = deliveries.map(({ attempts, id, payload }) => ({
      id: idOf(id),
      attempt: attempts + 1,
      payload: JSON.parse(payload)
    }))
    const handled = handledBy(await host.act(callOf(first, { messages }), signal))
    return deliveries.map((_, i) => handled(i) ?? undefined)
  }
})

const decodeHandled = Schema.decodeUnknownSync(Schema.Array(Handled))

/** How the call of a queue's handler ended for each of its messages, by their place. */
export const handledBy = (exit: EncodedExit | undefined): ((place: number) => Handled) => {
  if (exit?._tag !== "Success") return () => failureOf(exit)
  const results = decodeHandled(exit.value)
  return (place) => results[place] ?? null
}

const callOf = ({ caller, id, span, target }: Delivery, payload: unknown): PromisedCall => ({
  id,
  target,
  payload,
  caller,
  span
})

/** How a call ended. Declared errors are kept as JSON; the log has the causes of all others. */
const attemptOf = (exit: EncodedExit | undefined): Attempt => (exit?._tag === "Success" ? undefined : failureOf(exit))

const failureOf = (exit: Exclude<EncodedExit, { readonly _tag: "Success" }> | undefined): FailureReason => {
  if (exit === undefined) return { kind: "cut", detail: "it ended without an answer" }
  const [cause] = exit.cause
  if (cause === undefined || cause._tag === "Interrupt") return { kind: "cut", detail: "it was interrupted" }
  const error: any = cause._tag === "Fail" ? cause.error : cause.defect
  const reason: unknown = error?._tag === "CallError" ? error.reason?._tag : undefined
  const detail = JSON.stringify(error)
  if (reason === "UnknownRpc") return { kind: "unknown", detail }
  return { kind: reason === "PayloadInvalid" ? "payload" : "failed", detail }
}
