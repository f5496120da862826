/**
 * Files: bytes in R2, in memory or in a directory, with rows that commit with those of their mutation.
 * `Files.make` gives them to an app; `Bucket` is what declarations and handlers use, `Blobs` stores the bytes.
 */
export * as Bucket from "./contract/Bucket.ts"
export * as Blobs from "./layers/Blobs.ts"
export { FileServer } from "./services/FileServer.ts"
export * as Files from "./services/Files.ts"
