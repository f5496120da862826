/**
 * Change feeds: every committed change of some tables, from a cursor on, as a typed stream of the contract.
 * `Changes.feed` declares one; `ChangeLog.make` records the changes, as an option of `Pubsub.make`.
 */
export * as Changes from "./contract/Changes.ts"
export * as ChangeLog from "./services/ChangeLog.ts"
