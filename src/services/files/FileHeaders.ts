/**
 * The headers of a download: ranges and preconditions of the request, and what keeps a browser from running what was uploaded.
 * Plain decisions; `FileRequests.ts` sends the bytes.
 */
import type { ByteRange } from "../Blobs.ts"
import { essenceOf, isShown } from "./FileDecisions.ts"
import type { Located } from "./TransactionFiles.ts"

/** What is sent of a file. */
export interface Download {
  readonly status: 200 | 206 | 304 | 412 | 416
  readonly headers: Record<string, string>
  /** The bytes of the body; `undefined` for none. */
  readonly range: ByteRange | undefined
}

/** Seconds for which caches keep a file of a public bucket: one that was deleted may be seen for so long. */
const publicAge = 3600

/** Decides what answers a request for a file. */
export const downloadOf = (file: Located, headers: Headers, now: number): Download => {
  const etag = `"${file.checksum}"`
  const common = { etag, "cache-control": cacheControl(file, now) }
  const ifMatch = headers.get("if-match")
  if (ifMatch !== null && !names(ifMatch, etag)) return { status: 412, headers: common, range: undefined }
  const ifNoneMatch = headers.get("if-none-match")
  if (ifNoneMatch !== null && names(ifNoneMatch, etag)) return { status: 304, headers: common, range: undefined }
  const sent = { ...common, ...contentHeaders(file), "accept-ranges": "bytes" }
  const range = rangeOf(headers, etag, file.bytes)
  if (range === "past the end") {
    return { status: 416, headers: { ...common, "content-range": `bytes */${file.bytes}` }, range: undefined }
  }
  const { length, offset } = range ?? { offset: 0, length: file.bytes }
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...sent,
      "content-length": String(length),
      ...(range !== undefined && { "content-range": `bytes ${offset}-${offset + length - 1}/${file.bytes}` })
    },
    range: { offset, length }
  }
}

/** Whether a list of entity tags has one. */
const names = (list: string, etag: string): boolean =>
  list.trim() === "*" || list.split(",").some((item) => item.trim().replace(/^W\//, "") === etag)

/** The range that a request asks for. Several ranges, and what is none, get the whole file. */
const rangeOf = (headers: Headers, etag: string, bytes: number): ByteRange | "past the end" | undefined => {
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.get("range")?.trim() ?? "") ?? []
  if (first === "" && last === "") return undefined
  const ifRange = headers.get("if-range")
  if (ifRange !== null && ifRange.trim() !== etag) return undefined
  if (first === "") {
    const length = Math.min(Number(last), bytes)
    return length === 0 ? "past the end" : { offset: bytes - length, length }
  }
  const offset = Number(first)
  if (last !== "" && Number(last) < offset) return undefined
  if (offset >= bytes) return "past the end"
  const end = last === "" ? bytes - 1 : Math.min(Number(last), bytes - 1)
  return { offset, length: end - offset + 1 }
}

const cacheControl = ({ expires, isPublic }: Located, now: number): string => {
  if (isPublic) return `public, max-age=${publicAge}`
  return `private, max-age=${Math.max(0, Math.floor(((expires ?? now) - now) / 1000))}`
}

/** Nothing may run, and the page has an origin of its own (FI5). */
const sandbox = "default-src 'none'; img-src *; media-src *; style-src 'unsafe-inline'; sandbox"
/** Browsers do not show PDF in a sandbox. */
const withoutSandbox = "default-src 'none'; style-src 'unsafe-inline'"

const contentHeaders = ({ disposition, name, type }: Located): Record<string, string> => ({
  "content-type": essenceOf(type) === "text/plain" && !type.includes("charset") ? `${type}; charset=utf-8` : type,
  "content-disposition": `${isShown(type) ? disposition : "attachment"}; ${fileName(name)}`,
  "x-content-type-options": "nosniff",
  "content-security-policy": essenceOf(type) === "application/pdf" ? withoutSandbox : sandbox
})

/** A name as RFC 6266 says, for old clients in ASCII. */
const fileName = (name: string): string => {
  const ascii = name.replace(/[^ -~]|["%\\]/g, "_")
  const escaped = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return `filename="${ascii}"; filename*=UTF-8''${escaped}`
}
