/**
 * The client of a contract, for browsers, Node and Workers: calls, live queries, connection states.
 * `Outbox` keeps mutations across page loads; `Pages` reads a paged query as one growing list.
 */
export * as Client from "./client/Client.ts"
export { ConnectionRefused, OutcomeUnknown } from "./client/ClientError.ts"
export { ConnectionState } from "./client/ConnectionState.ts"
export { DeviceStatus } from "./client/DeviceStatus.ts"
export * as Outbox from "./client/Outbox.ts"
export { OutcomePending } from "./client/OutcomePending.ts"
export * as Pages from "./client/Pages.ts"
