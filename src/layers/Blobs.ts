/**
 * The `Blobs` port and its layers: where the bytes of files are.
 * Exported as the namespace `Blobs` of `effect-dormouse/files`.
 */
export {
  BlobError,
  Blobs,
  type Body,
  type ByteRange,
  PartsChanged,
  type PresignedPart,
  type PresignedPut,
  type Stored,
  type StoredPart,
  WrongSize
} from "../services/Blobs.ts"
export { layerR2 } from "./cloudflare/Blobs.ts"
export { layer as layerMemory, MemoryBlobs } from "./memory/Blobs.ts"
