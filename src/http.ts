/**
 * HTTP beside rpc: routes of the author's own, and queries by `GET`, with caches in mind and as Server-Sent Events.
 * An app that does without them does not bundle them.
 */
export * as HttpQueries from "./engine/worker/HttpQueries.ts"
export type { CorsOptions, Origins } from "./engine/worker/Origins.ts"
export * as Routes from "./engine/worker/Routes.ts"
