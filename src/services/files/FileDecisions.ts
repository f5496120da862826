/**
 * Decisions about files as plain data: which names, types and sizes a bucket takes, and which types a browser may show.
 * Nothing here reads or writes.
 */
import type { BucketSettings } from "../../contract/Bucket.ts"
import { FileRefused, type NewFile } from "../../contract/FileServices.ts"
import { bytesBeyond } from "../../protocol/Limits.ts"

/** Bytes of a name: what file systems take. */
const nameBytes = 255
const typeLength = 127

/** Control characters, what separates the parts of a path, and characters that turn the direction of the text around them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unfitForName = /[\u0000-\u001f\u007f-\u009f/\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/

const token = "[a-z0-9!#$&^_.+-]+"
const typePattern = new RegExp(`^${token}/${token}( *; *[a-z0-9-]+=("[ !#-~]*"|[a-z0-9!#$&^_.+:-]+))*$`, "i")

const checksumPattern = /^[0-9a-f]{64}$/

/** The content type without its parameters. */
export const essenceOf = (type: string): string => (type.split(";")[0] ?? "").trim().toLowerCase()

const fits = (type: string, pattern: string): boolean =>
  pattern.endsWith("/*") ? type.startsWith(pattern.slice(0, -1)) : type === pattern

/** Why a bucket does not take a file, if it does not. */
export const refusalOf = (
  { contentTypes, maxBytes }: Pick<BucketSettings, "contentTypes" | "maxBytes">,
  { bytes, checksum, name, type }: NewFile
): FileRefused | undefined => {
  const refused = (reason: FileRefused["reason"], detail: string) => new FileRefused({ reason, detail })
  if (name.trim() === "" || name === "." || name === "..") return refused("name", "it is empty, or that of a folder")
  if (bytesBeyond(name, nameBytes) !== undefined) return refused("name", `it has more than ${nameBytes} bytes`)
  if (unfitForName.test(name) || !name.isWellFormed()) return refused("name", "it has a path or a control character")
  if (type.length > typeLength || !typePattern.test(type)) return refused("type", "it is no content type")
  if (contentTypes !== undefined && !contentTypes.some((pattern) => fits(essenceOf(type), pattern)))
    return refused("type", `the bucket takes ${contentTypes.join(", ")}`)
  if (!(Number.isSafeInteger(bytes) && bytes >= 0)) return refused("bytes", "it is no size")
  if (bytes > maxBytes) return refused("bytes", `at most ${maxBytes}, got ${bytes}`)
  if (checksum !== undefined && !checksumPattern.test(checksum))
    return refused("checksum", "it is no SHA-256 in hexadecimal")
  return undefined
}

/** Types that show what they are in a browser and cannot run anything there. */
const shown = /^(image\/(png|jpeg|gif|webp|avif|bmp|x-icon)|video\/[a-z0-9.+-]+|audio\/[a-z0-9.+-]+|text\/plain)$/

/** Whether a browser may show a file of this type: it saves all others. */
export const isShown = (type: string): boolean => shown.test(essenceOf(type)) || essenceOf(type) === "application/pdf"
