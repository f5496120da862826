/**
 * Files on Node: bytes in a directory of the machine.
 * For `import { DirectoryBlobs } from "effect-dormouse/files/node"`.
 */
export * as DirectoryBlobs from "./layers/memory/DirectoryBlobs.ts"
