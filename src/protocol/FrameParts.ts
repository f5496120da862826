/**
 * Splits frames that are larger than one socket message into parts, which the client joins again.
 * The texts of the parts, in order, are the JSON of the frame.
 */
import { socketMessageBytes } from "./Limits.ts"

const encoder = new TextEncoder()

/** The largest frame that fits one message, in bytes. The message around it adds an id and a few names. */
const frameBytes = socketMessageBytes - 1024

/** The texts of a frame: itself, or its parts when it is too large for one message. */
export const split = (frame: string): ReadonlyArray<string> => {
  // A UTF-16 unit takes at most three bytes, so a short text needs no encoding.
  if (frame.length * 3 <= frameBytes || encoder.encode(frame).length <= frameBytes) return [frame]
  // Quoted a second time, a character of a JSON text takes at most three bytes.
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
