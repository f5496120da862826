/**
 * Topics and presence: messages for whoever reads now, and who is here, with the typed streams of the contract.
 * `Pubsub.make` gives them to an app; `Topic` and `Presence` are what declarations and handlers use. `LocalPubsub` is for programs
 * without an app: a namespace of its own, because a bundler keeps all of a namespace that is exported.
 */
export * as Presence from "./contract/Presence.ts"
export * as Topic from "./contract/Topic.ts"
export * as EventStream from "./services/EventStream.ts"
export * as LocalPubsub from "./services/LocalPubsub.ts"
export * as Pubsub from "./services/Pubsub.ts"
