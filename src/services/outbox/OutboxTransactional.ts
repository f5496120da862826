/**
 * The outbox as services that take part in transactions.
 * Handlers read and write it, and the engine records deliveries.
 */
import * as Context from "effect/Context"
import { memoize } from "effect/Function"
import { Outbox, OutboxWriter } from "../../contract/Outbox.ts"
import type { Transactional, Tx } from "../../contract/Transactional.ts"
import { crons } from "./Crons.ts"
import { outbox } from "./OutboxTable.ts"
import { TransactionOutbox } from "./TransactionOutbox.ts"

const spanOf = (tx: Tx) => (): string | null => {
  const span = tx.span()
  return span === undefined ? null : JSON.stringify([span.traceId, span.spanId])
}

/** The outbox of a transaction: the same one for all services of the transaction. */
export const outboxOf: (tx: Tx) => TransactionOutbox = memoize((tx) => new TransactionOutbox(tx, spanOf(tx)))

/** The outbox of the handlers of queries and mutations. What failed is kept for so many milliseconds. */
export const outboxServices = (
  failedRetention: number
): readonly [Transactional<Outbox, Outbox["Service"]>, Transactional<OutboxWriter, OutboxWriter["Service"]>] => {
  const open = (tx: Tx) => Object.assign(outboxOf(tx), { failedRetention })
  return [
    { tag: Outbox, tables: [outbox, crons], open },
    { tag: OutboxWriter, tables: [], open }
  ]
}

/** The outbox of the transaction that an effect runs in. */
export const current = (context: Context.Context<any>): TransactionOutbox =>
  transacted(Context.get(context, OutboxWriter))

/** The outbox of a transaction, as a handler has it. */
export const transacted = (found: unknown): TransactionOutbox => {
  if (found instanceof TransactionOutbox) return found
  throw new Error("the outbox was used outside of a transaction")
}
