/**
 * Uploads in a page: progress, parts, resuming.
 * For `import { Uploads } from "effect-dormouse/files/client"`.
 */
export * as Uploads from "./client/Uploads.ts"
