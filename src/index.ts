/**
 * What an author declares: contracts, tables, handlers and the app they make.
 * Everything here is pure and runs in a browser as well.
 */
export * as Action from "./contract/Action.ts"
export * as Api from "./contract/Api.ts"
export * as App from "./contract/App.ts"
export * as Auth from "./contract/Auth.ts"
export * as Calls from "./contract/Calls.ts"
export * as Handlers from "./contract/Handlers.ts"
export * as Kind from "./contract/Kind.ts"
export * as Live from "./contract/Live.ts"
export * as Migration from "./contract/Migration.ts"
export * as Mutation from "./contract/Mutation.ts"
export * as Page from "./contract/Page.ts"
export * as Query from "./contract/Query.ts"
export * as Storage from "./contract/Storage.ts"
export * as Table from "./contract/Table.ts"
export * as Transactional from "./contract/Transactional.ts"
export * as Metrics from "./engine/object/Metrics.ts"
export * as CallError from "./protocol/CallError.ts"
export * as CallerLimits from "./protocol/CallerLimits.ts"
export * as Limits from "./protocol/Limits.ts"
