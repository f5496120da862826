/**
 * Stores the bytes of files in a bucket of R2, which is bound to the Worker.
 * A body goes on to R2 as it comes; its SHA-256 is computed beside it by the platform.
 */
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  attempt,
  attemptToStore,
  type BlobError,
  Blobs,
  type Body,
  PartsChanged,
  type Stored,
  WrongSize
} from "../../services/Blobs.ts"
import { WorkerEnv } from "./WorkerEnv.ts"

/** What is used of the binding of a bucket. */
interface R2Bucket {
  put(key: string, body: unknown): Promise<{ readonly etag: string; readonly size: number } | null>
  get(
    key: string,
    options: { readonly range: { readonly offset: number; readonly length: number } }
  ): Promise<{ readonly body: unknown } | null>
  head(key: string): Promise<{ readonly size: number } | null>
  delete(keys: Array<string>): Promise<void>
  list(options: { readonly prefix: string }): Promise<{ readonly objects: ReadonlyArray<{ readonly key: string }> }>
  createMultipartUpload(key: string): Promise<{ readonly uploadId: string }>
  resumeMultipartUpload(key: string, upload: string): R2Upload
}

interface R2Upload {
  uploadPart(part: number, body: unknown): Promise<{ readonly etag: string }>
  complete(parts: ReadonlyArray<{ readonly partNumber: number; readonly etag: string }>): Promise<unknown>
  abort(): Promise<void>
}

/** What of the platform computes a hash of a stream. */
declare const crypto: { readonly DigestStream: new (algorithm: "SHA-256") => DigestStream }
interface DigestStream extends WritableStream<Uint8Array> {
  readonly digest: Promise<ArrayBuffer>
}
/** A stream whose length is known, as R2 needs it. It fails when there are more bytes or fewer. */
declare const FixedLengthStream: new (
  length: number
) => { readonly readable: Body; readonly writable: WritableStream<Uint8Array> }

/** How an error of R2 ends that is about a part which is not there: its message has the code. */
const invalidPart = "(10025)"

/** Keys that R2 deletes at once. */
const keysPerDelete = 1000

/** Stores bytes in the bucket that is bound to the Worker under this name. */
export const layerR2 = (binding: string): Layer.Layer<Blobs> =>
  Layer.effect(
    Blobs,
    Effect.gen(function* () {
      const bindings = yield* WorkerEnv
      const bucket = () => bucketOf(bindings[binding], binding)
      return Blobs.of({
        put: (key, body, bytes) => store(body, bytes, (body) => bucket().put(key, body)),
        begin: (key) => attempt("begin", async () => (await bucket().createMultipartUpload(key)).uploadId),
        putPart: (key, upload, part, body, bytes) =>
          store(body, bytes, (body) => bucket().resumeMultipartUpload(key, upload).uploadPart(part, body)),
        complete: (key, upload, parts) =>
          attempt("complete", async () => {
            const stored = parts.map(({ etag, part }) => ({ etag, partNumber: part }))
            await bucket().resumeMultipartUpload(key, upload).complete(stored)
          }).pipe(Effect.mapError((error) => (String(error.cause).includes(invalidPart) ? new PartsChanged() : error))),
        // R2 fails for an upload that is complete, or was aborted before.
        abort: (key, upload) =>
          Effect.ignore(attempt("abort", () => bucket().resumeMultipartUpload(key, upload).abort())),
        get: (key, range) =>
          attempt("get", async () => {
            const found = await bucket().get(key, { range })
            // The body of an object of R2 is a stream of bytes.
            return found === null ? undefined : (found.body as Body)
          }),
        size: (key) => attempt("size", async () => (await bucket().head(key))?.size),
        remove: (keys) =>
          attempt("remove", async () => {
            for (let i = 0; i < keys.length; i += keysPerDelete) await bucket().delete(keys.slice(i, i + keysPerDelete))
          }),
        list: (prefix) => attempt("list", async () => (await bucket().list({ prefix })).objects.map(({ key }) => key))
      })
    })
  )

const bucketOf = (bound: unknown, name: string): R2Bucket => {
  if (isBucket(bound)) return bound
  throw new Error(`the environment has no bucket ${name}: add it to "r2_buckets" of the Worker's configuration`)
}

const isBucket = (bound: unknown): bound is R2Bucket =>
  typeof bound === "object" && bound !== null && "createMultipartUpload" in bound

/** Stores a body, and computes its hash on the way. */
const store = (
  body: Body,
  bytes: number,
  put: (body: Body) => Promise<{ readonly etag: string } | null>
): Effect.Effect<Stored, BlobError | WrongSize> =>
  attemptToStore(async () => {
    const { readable, writable } = new FixedLengthStream(bytes)
    const hash = new crypto.DigestStream("SHA-256")
    const copied = copy(body, [writable, hash]).catch(() => {
      throw new WrongSize({ expected: bytes })
    })
    const [stored] = await Promise.all([put(readable), copied])
    if (stored === null) throw new Error("R2 did not store it")
    return { etag: stored.etag, bytes, checksum: bytesToHex(new Uint8Array(await hash.digest)) }
  })

/** Bytes that are copied at once. */
const chunkBytes = 1024 * 1024

/** Copies a body to several streams. The platform's `tee` takes twice the time for small chunks. */
const copy = async (body: Body, targets: ReadonlyArray<WritableStream<Uint8Array>>): Promise<void> => {
  const writers = targets.map((target) => target.getWriter())
  try {
    for await (const chunk of chunksOf(body)) await Promise.all(writers.map((writer) => writer.write(chunk)))
    await Promise.all(writers.map((writer) => writer.close()))
  } catch (cause) {
    for (const writer of writers) writer.abort(cause).catch(() => {})
    throw cause
  }
}

/** The chunks of a body, large ones if the platform can read them so. */
async function* chunksOf(body: Body): AsyncGenerator<Uint8Array> {
  const reader = largeReaderOf(body)
  if (reader === undefined) return yield* body
  for (;;) {
    const { done, value } = await reader.readAtLeast(chunkBytes, new Uint8Array(chunkBytes))
    if (value !== undefined && value.length > 0) yield value
    if (done) return
  }
}

/** A reader that waits for so many bytes, as those of the platform's own streams do. */
interface LargeReader {
  readAtLeast(
    bytes: number,
    view: Uint8Array
  ): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
}

const isLargeReader = (reader: unknown): reader is LargeReader =>
  typeof reader === "object" && reader !== null && "readAtLeast" in reader

/** A reader that waits for so many bytes, which bodies of requests have. */
const largeReaderOf = (body: Body): LargeReader | undefined => {
  try {
    const reader: unknown = body.getReader({ mode: "byob" })
    if (isLargeReader(reader)) return reader
  } catch {
    // It is not a stream of bytes of the platform's.
  }
  return undefined
}
