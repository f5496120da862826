/**
 * Calls that a broker carries: how a transaction hands them over, begins them when they arrive, and settles them.
 * A call is one hand-over of some entries. It can arrive twice, late or never: it begins once, and only what has begun is settled.
 */
import type { Identity } from "../../contract/Auth.ts"
import type { EntryId } from "../../contract/Outbox.ts"
import { type Handed, type Handled, lanesOf } from "../../contract/Queue.ts"
import type { AttemptOutcome } from "../JobMetrics.ts"
import { type Delivery, deliveryColumns, idOf, outboxTable, toDelivery } from "./OutboxTable.ts"
import type { TransactionOutbox } from "./TransactionOutbox.ts"

/** Milliseconds after which a call that has not begun is sent again. Doubled with each time. */
const firstWait = 60_000
const maxWait = 16 * 60_000
/** Milliseconds after which a call is sent again that the broker did not take. Doubled with each time. */
const firstPause = 1_000
const maxPause = 5 * 60_000

const doubled = (first: number, times: number, max: number): number => Math.min(first * 2 ** times, max)

/** Hands entries of one lane over in a new call, and returns its id. */
export const handOver = (outbox: TransactionOutbox, deliveries: readonly [Delivery, ...Array<Delivery>]): string => {
  const [first] = deliveries
  const { tx } = outbox
  const call = `${first.id}.${Math.floor(tx.random.nextDoubleUnsafe() * 2 ** 40).toString(36)}`
  for (const { id, sends } of deliveries) {
    outbox.write(`UPDATE ${outboxTable} SET state = 'sent', call = ?, sends = sends + 1, wake = ? WHERE id = ?`, [
      call,
      tx.now + doubled(firstWait, sends, maxWait),
      id
    ])
  }
  return call
}

/** Nothing was heard of a call for long: it is sent again. */
export const handOverAgain = (outbox: TransactionOutbox, lanes: ReadonlyArray<string>, call: string): void => {
  for (const { id, sends } of inState(outbox, lanes, call, "sent")) {
    outbox.write(`UPDATE ${outboxTable} SET sends = sends + 1, wake = ? WHERE id = ?`, [
      outbox.tx.now + doubled(firstWait, sends, maxWait),
      id
    ])
  }
}

/** The broker did not take calls: their entries wait for a while. No attempt has begun. */
export const takeBack = (
  outbox: TransactionOutbox,
  lanes: ReadonlyArray<string>,
  calls: ReadonlyArray<string>
): void => {
  for (const call of calls) {
    for (const { id, sends } of inState(outbox, lanes, call, "sent")) {
      const spread = 0.9 + outbox.tx.random.nextDoubleUnsafe() / 5
      const wake = outbox.tx.now + Math.ceil(doubled(firstPause, sends - 1, maxPause) * spread)
      release(outbox, id, wake)
    }
  }
}

const release = (outbox: TransactionOutbox, id: number, wake: number): void => {
  outbox.write(`UPDATE ${outboxTable} SET state = 'waiting', call = NULL, wake = ? WHERE id = ?`, [wake, id])
}

/** Whether a call has not begun. */
export const isWaiting = (outbox: TransactionOutbox, { call, queue }: Pick<BeginOptions, "call" | "queue">): boolean =>
  inState(outbox, lanesOf(queue), call, "sent").length > 0

/** What a handler needs that begins with a call. */
export interface Begun {
  readonly caller: Identity
  readonly span: Delivery["span"]
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly messages: ReadonlyArray<typeof Handed.Type>
}

/** Bytes of a message besides its payload. */
const messageBytes = 100

/** How a call may begin. */
export interface BeginOptions {
  readonly queue: string
  readonly call: string
  /** Milliseconds after which it counts as cut, if nothing is heard of it. */
  readonly lease: number
  /** Bytes of the messages. Those that are too many for one call wait for the next. */
  readonly maxBytes: number
}

/** A call has arrived: its entries begin. `undefined` when there is none to begin: it has begun before, or is over. */
export const begin = (outbox: TransactionOutbox, options: BeginOptions): Begun | undefined => {
  const { call, lease, maxBytes, queue } = options
  const taken: Array<Delivery> = []
  let bytes = 0
  for (const delivery of inState(outbox, lanesOf(queue), call, "sent")) {
    const size = new TextEncoder().encode(delivery.payload).length + messageBytes
    if (size > maxBytes) {
      outbox.fail(delivery, delivery.attempts + 1, {
        kind: "payload",
        detail: "a broker carries no message that is larger than half of `resultBytes`"
      })
    } else if (bytes + size > maxBytes) release(outbox, delivery.id, outbox.tx.now)
    else {
      bytes += size
      taken.push(delivery)
      outbox.write(
        `UPDATE ${outboxTable} SET state = 'running', attempts = attempts + 1, sends = 0, wake = ? WHERE id = ?`,
        [outbox.tx.now + lease, delivery.id]
      )
    }
  }
  const [first] = taken
  if (first === undefined) return undefined
  return {
    caller: first.caller,
    span: first.span,
    time: outbox.tx.now,
    messages: taken.map(({ attempts, id, payload }) => ({
      id: idOf(id),
      attempt: attempts + 1,
      payload: JSON.parse(payload)
    }))
  }
}

/** How a call ended for one of its messages. */
export interface Result {
  readonly id: EntryId
  readonly handled: Handled
}

/** How an attempt of a message was settled. */
export interface Settled extends Result {
  readonly delivery: Delivery
  readonly outcome: AttemptOutcome
}

/** A call has ended. What is over, because it took too long, is left out. */
export const settle = (
  outbox: TransactionOutbox,
  { call, queue, results }: { readonly queue: string; readonly call: string; readonly results: ReadonlyArray<Result> }
): ReadonlyArray<Settled> => {
  const byId = new Map(results.map((result) => [result.id, result]))
  const settled: Array<Settled> = []
  for (const delivery of inState(outbox, lanesOf(queue), call, "running")) {
    const result = byId.get(idOf(delivery.id))
    if (result === undefined) continue
    if (result.handled === null) outbox.end(delivery)
    const isRetried = result.handled !== null && outbox.fail(delivery, delivery.attempts, result.handled)
    settled.push({ ...result, delivery, outcome: isRetried ? "retried" : result.handled === null ? "done" : "failed" })
  }
  return settled
}

/** The entries of a call that are in a state. */
const inState = (
  outbox: TransactionOutbox,
  lanes: ReadonlyArray<string>,
  call: string,
  state: Delivery["state"]
): ReadonlyArray<Delivery> =>
  lanes.flatMap((lane) =>
    outbox.tx
      .query(`SELECT ${deliveryColumns} FROM ${outboxTable} WHERE lane = ? AND call = ? AND state = ? ORDER BY id`, [
        lane,
        call,
        state
      ])
      .map(toDelivery)
  )
