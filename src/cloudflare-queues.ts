/**
 * Queues over Cloudflare Queues: `CloudflareQueues.serve` deploys an app whose messages a Cloudflare Queue carries.
 * An app that does without them does not bundle it.
 */
export * as CloudflareQueues from "./do/CloudflareQueues.ts"
