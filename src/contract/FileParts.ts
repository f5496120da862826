/**
 * How a file is divided into parts, and what its checksum is.
 * Client and server compute both: plain decisions that run anywhere.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js"

/** How many parts a file has. An empty one has one. */
export const countParts = (bytes: number, partBytes: number): number => Math.max(1, Math.ceil(bytes / partBytes))

/** The bytes of a part; `undefined` when the file has no such part. */
export const bytesOfPart = (bytes: number, partBytes: number, part: number): number | undefined => {
  const count = countParts(bytes, partBytes)
  if (!(Number.isInteger(part) && part >= 1 && part <= count)) return undefined
  return part < count ? partBytes : bytes - partBytes * (count - 1)
}

/** The checksum of a file, from those of its parts in their order. */
export const checksumOf = (parts: ReadonlyArray<string>): string => {
  const [first = ""] = parts
  if (parts.length === 1) return first
  const hash = sha256.create()
  for (const part of parts) hash.update(hexToBytes(part))
  return bytesToHex(hash.digest())
}
