/**
 * Sends the bytes of files: in parts, several at the same time, each again after a lost connection, with progress.
 * In a module of its own: a page without uploads does not bundle it.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as FileParts from "../contract/FileParts.ts"
import { type FileRef, PresignedPut, type Upload, UploadStatus } from "../contract/FileServices.ts"
import { type Reply, sendOver } from "./UploadTransport.ts"

/** Where a file is sent to, from `begin` of its bucket. */
export type { Upload as Target } from "../contract/FileServices.ts"

/** How far an upload is. */
export interface UploadProgress {
  readonly file: FileRef
  /** Bytes that were sent, those of earlier attempts included. */
  readonly sent: number
  readonly bytes: number
  /** Whether the file is ready: the last progress says so. */
  readonly isReady: boolean
}

/** How a file is sent. */
export interface UploadOptions {
  /** The base URL of the Worker, as the client has it. That of the page unless given. */
  readonly url?: string
  /** Parts that are sent at the same time, 3 unless given. */
  readonly concurrency?: number
  /** The delays before a part is sent again: from 1 second on, doubled up to 30 seconds, with jitter, unless given. */
  readonly retry?: Schedule.Schedule<unknown>
}

/**
 * The server does not take the upload, or the upload has no time left. `status` is that of HTTP; it is 0 when the bytes of the file
 * cannot be read, for example because the file was changed.
 */
export class UploadError extends Schema.TaggedError<UploadError>("effect-dormouse/UploadError")("UploadError", {
  status: Schema.Int,
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** An attempt that may succeed later. */
class Again extends Schema.TaggedError<Again>()("Again", { status: Schema.Int, detail: Schema.String }) {}

const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("1 second").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30)))),
  Schedule.jittered
)

/** How often parts are sent that the server does not have, or has not any more. */
const maxRounds = 3

/** Statuses after which a request is sent again. */
const isTransient = (status: number): boolean => status === 0 || status === 408 || status === 429 || status >= 500

/**
 * Sends the bytes of a file. The stream has the progress, and ends when the file is ready. An upload that was begun before goes on
 * where it was: only missing parts are sent. Interrupting it keeps what was sent; `cancel` gives it up.
 */
export const send = (
  upload: Upload,
  file: Blob,
  options: UploadOptions = {}
): Stream.Stream<UploadProgress, UploadError> =>
  Stream.callback(
    (queue) =>
      Effect.gen(function* () {
        const { bytes, file: ref } = upload
        if (file.size !== bytes) return yield* failure(0, `the file has ${file.size} bytes instead of ${bytes}`)
        const count = FileParts.countParts(bytes, upload.partBytes)
        const sent = new Map<number, number>()
        const report = (isReady: boolean) => {
          const sum = isReady ? bytes : [...sent.values()].reduce((sum, part) => sum + part, 0)
          Queue.offerUnsafe(queue, { file: ref, sent: sum, bytes, isReady })
        }
        const known = count === 1 ? pending : yield* attempt(upload, options, { method: "GET" })
        if (known.state === "ready") return report(true)
        const has = (parts: ReadonlyArray<number>) => {
          sent.clear()
          for (const part of parts) sent.set(part, sizeOf(upload, part))
          report(false)
        }
        has(known.parts)
        const direct: Direct = { isUsed: known.isDirect === true, isProven: false }
        const put = Effect.fnUntraced(function* (part: number) {
          const start = (part - 1) * upload.partBytes
          const body = yield* read(file.slice(start, start + sizeOf(upload, part)))
          const digest = yield* digestOf(body)
          const headers: Readonly<Record<string, string>> =
            digest === undefined ? {} : { "content-digest": `sha-256=:${Base64.encode(digest)}:` }
          const onProgress = (loaded: number) => {
            sent.set(part, Math.min(loaded, body.byteLength))
            report(false)
          }
          const request: PartRequest = { part, body, headers, onProgress }
          const stored = digest === undefined ? undefined : yield* sendDirectly(upload, options, request, direct)
          if (stored !== undefined) return stored
          return yield* attempt(upload, options, { method: "PUT", ...request }).pipe(
            // The part was taken before, and its answer lost.
            Effect.catchIf(
              ({ status }) => status === 409,
              () => attempt(upload, options, { method: "GET" })
            )
          )
        })
        const { concurrency = 3 } = options
        // One round is enough, unless a part has arrived twice and the store does not have the one that the server knows.
        for (let round = 1; round <= maxRounds; round++) {
          const missing = Array.from({ length: count }, (_, i) => i + 1).filter((part) => !sent.has(part))
          const statuses = yield* Effect.forEach(missing, put, { concurrency })
          if (statuses.some(({ state }) => state === "ready")) return report(true)
          const last = yield* attempt(upload, options, { method: "POST" })
          if (last.state === "ready") return report(true)
          has(last.parts)
        }
        return yield* failure(409, "the file is not complete; begin it again")
      }).pipe(
        Effect.matchCause({
          onFailure: (cause) => Queue.failCauseUnsafe(queue, cause),
          onSuccess: () => Queue.endUnsafe(queue)
        })
      ),
    { bufferSize: 1, strategy: "sliding" }
  )

/** Gives an upload up: its row and what was sent of it are deleted. */
export const cancel = (upload: Upload, options: UploadOptions = {}): Effect.Effect<void, UploadError> =>
  persist(
    options,
    exchange(upload, options, { method: "DELETE" }, () => Option.some(undefined))
  )

/** The checksum of a file, for `begin`: with it the server refuses the file unless it has all its bytes. */
export const checksumOf = (file: Blob, partBytes: number): Effect.Effect<string, UploadError> =>
  Effect.gen(function* () {
    const hashes: Array<string> = []
    for (let start = 0; start === 0 || start < file.size; start += partBytes) {
      hashes.push(bytesToHex(sha256(new Uint8Array(yield* read(file.slice(start, start + partBytes))))))
    }
    return FileParts.checksumOf(hashes)
  })

declare const location: { readonly href: string } | undefined

const pending: UploadStatus = { state: "pending", parts: [] }

/** Bytes of a part that the file has. */
const sizeOf = ({ bytes, partBytes }: Upload, part: number): number =>
  FileParts.bytesOfPart(bytes, partBytes, part) ?? 0

const failure = (status: number, detail: string) => Effect.fail(new UploadError({ status, detail }))

const read = (part: Blob): Effect.Effect<ArrayBuffer, UploadError> =>
  Effect.tryPromise({
    try: () => part.arrayBuffer(),
    catch: (cause) => new UploadError({ status: 0, detail: `the file cannot be read: ${String(cause)}` })
  })

/** The SHA-256 of a part. Pages without https have none. */
const digestOf = (part: ArrayBuffer): Effect.Effect<Uint8Array | undefined> =>
  typeof crypto === "undefined" || crypto.subtle === undefined
    ? Effect.succeed(undefined)
    : Effect.promise(async () => new Uint8Array(await crypto.subtle.digest("SHA-256", part)))

/** One request of an upload. */
interface UploadRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE"
  readonly part?: number
  readonly etag?: string
  readonly body?: ArrayBuffer
  readonly headers?: Readonly<Record<string, string>>
  readonly onProgress?: (sent: number) => void
}

/** A part that is sent. */
interface PartRequest extends Required<Pick<UploadRequest, "part" | "body" | "headers" | "onProgress">> {}

/** Whether parts go to the store itself, and whether one has arrived there: a page may be kept from it. */
interface Direct {
  isUsed: boolean
  isProven: boolean
}

const decodeStatus = Schema.decodeUnknownOption(Schema.fromJsonString(UploadStatus))
const decodeTarget = Schema.decodeUnknownOption(Schema.fromJsonString(PresignedPut))
const decodeProblem = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ error: Schema.String })))

/** Makes a request until it is answered, or the time of the upload is over. */
const attempt = (upload: Upload, options: UploadOptions, request: UploadRequest) =>
  persist(options, exchange(upload, options, request, decodeStatus))

/** Repeats what may succeed later. */
const persist = <A, R>(
  { retry = defaultRetry }: UploadOptions,
  once: Effect.Effect<A, UploadError | Again, R>
): Effect.Effect<A, UploadError, R> =>
  Effect.retry(once, { schedule: retry, while: (error) => error instanceof Again }).pipe(
    Effect.catchIf(
      (error) => error instanceof Again,
      ({ detail, status }) => failure(status, detail)
    )
  )

/** Makes a request once. */
const exchange = Effect.fnUntraced(function* <A>(
  upload: Upload,
  { url }: UploadOptions,
  { etag, onProgress, part, ...request }: UploadRequest,
  decode: (text: string) => Option.Option<A>
) {
  const send = yield* sendOver
  const base = url ?? (typeof location === "undefined" ? undefined : location.href)
  const target = new URL(upload.url, base)
  if (part !== undefined) target.searchParams.set("part", String(part))
  if (etag !== undefined) target.searchParams.set("etag", etag)
  return yield* send({ ...request, url: target.href, onProgress }).pipe(
    Effect.flatMap((reply) => outcomeOf(reply, decode)),
    Effect.tapError(() => Effect.sync(() => onProgress?.(0)))
  )
})

/**
 * Sends a part to the store itself. Returns nothing where that does not work: the part goes through the server then. Until one part
 * has arrived, one failure is enough to tell, since a page learns nothing of a store that does not allow its origin.
 */
const sendDirectly = Effect.fnUntraced(function* (
  upload: Upload,
  options: UploadOptions,
  { body, headers, onProgress, part }: PartRequest,
  direct: Direct
) {
  if (!direct.isUsed) return undefined
  const send = yield* sendOver
  const ask = persist(options, exchange(upload, options, { method: "POST", part, headers }, decodeTarget))
  const store = Effect.gen(function* () {
    const target = yield* ask
    const { etag, status } = yield* send({ method: "PUT", ...target, body, onProgress })
    if (status === 200 && etag !== null) {
      direct.isProven = true
      return etag
    }
    onProgress(0)
    const detail = `the store answered with status ${status}`
    if (direct.isProven && isTransient(status)) return yield* new Again({ status, detail })
    direct.isUsed = direct.isProven
    return yield* failure(status, detail)
  })
  return yield* persist(options, store).pipe(
    Effect.flatMap((etag) => attempt(upload, options, { method: "POST", part, etag })),
    Effect.orElseSucceed(() => undefined)
  )
})

const outcomeOf = <A>(
  { status, text }: Reply,
  decode: (text: string) => Option.Option<A>
): Effect.Effect<A, UploadError | Again> => {
  if (status === 200 || status === 204) {
    const decoded = decode(text)
    // Something between page and server has answered.
    return decoded._tag === "Some"
      ? Effect.succeed(decoded.value)
      : Effect.fail(new Again({ status: 502, detail: "the answer is not that of an upload" }))
  }
  const problem = decodeProblem(text)
  const detail = problem._tag === "Some" ? problem.value.error : `the server answered with status ${status}`
  return isTransient(status) ? Effect.fail(new Again({ status, detail })) : failure(status, detail)
}
