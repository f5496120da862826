/**
 * React hooks for topics and presence.
 * Components that use them see no type of Effect.
 */
export { createTopicHooks, type TopicHooks } from "./client/TopicHooks.ts"
