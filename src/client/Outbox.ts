/**
 * The outbox of a client: mutations are stored before they are sent, so that a later page sends what a closed one left.
 * `OutboxStorage` stores them, `OutboxRunner` sends them.
 */
import type { Outbox } from "./Mutations.ts"
import * as OutboxRunner from "./OutboxRunner.ts"

export type { Outbox } from "./Mutations.ts"
export type { OutboxOptions, Replayed, StoredMutation, Waiting } from "./OutboxRunner.ts"
export { layerIndexedDb, layerMemory, OutboxEntry, OutboxStorage } from "./OutboxStorage.ts"

/** Makes an outbox. Each mutation is stored before it is sent, and removed when its outcome is known. */
export const make = (options: OutboxRunner.OutboxOptions): Outbox => ({
  run: (mutations) => OutboxRunner.make(mutations, options)
})
