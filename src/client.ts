/** The client of a contract, for browsers, Node and Workers. */
export * as Client from "./client/Client.ts"
export { ConnectionRefused, OutcomeUnknown } from "./client/ClientError.ts"
export { ConnectionState } from "./client/ConnectionState.ts"
export { DeviceStatus } from "./client/DeviceStatus.ts"
export * as Outbox from "./client/Outbox.ts"
export * as Pages from "./client/Pages.ts"
