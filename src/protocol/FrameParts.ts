/**
 * Frames that are larger than one socket message: split into parts by the server, put together again by the client.
 * The texts of the parts in order are the JSON of the frame.
 */
import { socketMessageBytes } from "./Limits.ts"

const encoder = new TextEncoder()

/** Bytes of a frame that needs no splitting: the message around it has an id and a few names. */
const frameBytes = socketMessageBytes - 1024

/** The texts of a frame: itself, or its parts when it is too large for one message. */
export const split = (frame: string): ReadonlyArray<string> => {
  // A unit of UTF-16 takes at most three bytes: short texts need no counting.
  if (frame.length * 3 <= frameBytes || encoder.encode(frame).length <= frameBytes) return [frame]
  // Quoted once more, a character of a JSON text takes at most three bytes.
  const size = Math.floor(frameBytes / 3) - 32
  const parts: Array<string> = []
  for (let start = 0; start < frame.length; ) {
    let end = Math.min(start + size, frame.length)
    // Keep both halves of a surrogate pair in one part: some clients reject half of one.
    if (end < frame.length && isHighSurrogate(frame.charCodeAt(end - 1))) end--
    parts.push(JSON.stringify({ _tag: "Part", text: frame.slice(start, end), last: end === frame.length }))
    start = end
  }
  return parts
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff
