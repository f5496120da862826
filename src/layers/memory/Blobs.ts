/**
 * Stores the bytes of files in the memory of the process, for tests.
 * What it refuses is what R2 refuses: a part that was stored again since, and an upload that is complete.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  attempt,
  type BlobError,
  Blobs,
  type Body,
  PartsChanged,
  type Stored,
  WrongSize
} from "../../services/Blobs.ts"

type Bytes = Uint8Array<ArrayBuffer>
type Parts = Map<number, { readonly etag: string; readonly bytes: Bytes }>

/** The bytes of an app in memory, for tests to look at. */
export class MemoryBlobs {
  /** By key. */
  readonly stored = new Map<string, Bytes>()
  /** The parts of uploads that are not complete, by key and upload. */
  readonly uploads = new Map<string, Parts>()
  private counter = 0

  /** The layer over these bytes. */
  readonly layer: Layer.Layer<Blobs> = Layer.succeed(Blobs, {
    put: (key, body, bytes) =>
      store(body, bytes, (read) => {
        this.stored.set(key, read)
        return this.nextName()
      }),
    begin: (key) =>
      Effect.sync(() => {
        const upload = this.nextName()
        this.uploads.set(`${key} ${upload}`, new Map())
        return upload
      }),
    putPart: (key, upload, part, body, bytes) =>
      store(body, bytes, (read) => {
        const etag = this.nextName()
        this.upload(key, upload).set(part, { etag, bytes: read })
        return etag
      }),
    complete: (key, upload, parts) =>
      Effect.gen({ self: this }, function* () {
        const stored = yield* attempt("complete", async () => this.upload(key, upload))
        const found = parts.map(({ part }) => stored.get(part))
        if (found.some((part, i) => part?.etag !== parts[i]!.etag)) return yield* new PartsChanged()
        const bytes = found.flatMap((part) => (part === undefined ? [] : [part.bytes]))
        this.stored.set(key, new Uint8Array(yield* attempt("complete", () => new Blob(bytes).arrayBuffer())))
        this.uploads.delete(`${key} ${upload}`)
      }),
    abort: (key, upload) => Effect.sync(() => void this.uploads.delete(`${key} ${upload}`)),
    get: (key, { length, offset }) =>
      Effect.sync(() => {
        const bytes = this.stored.get(key)
        return bytes && new Blob([bytes]).slice(offset, offset + length).stream()
      }),
    size: (key) => Effect.sync(() => this.stored.get(key)?.length),
    remove: (keys) =>
      Effect.sync(() => {
        for (const key of keys) this.stored.delete(key)
      }),
    list: (prefix) => Effect.sync(() => [...this.stored.keys()].filter((key) => key.startsWith(prefix)))
  })

  private nextName(): string {
    this.counter++
    return String(this.counter)
  }

  private upload(key: string, upload: string): Parts {
    const found = this.uploads.get(`${key} ${upload}`)
    if (found === undefined) throw new Error("there is no such upload")
    return found
  }
}

/** Reads a body and stores it. `keep` returns its etag. */
const store = Effect.fnUntraced(function* (
  body: Body,
  bytes: number,
  keep: (read: Bytes) => string
): Effect.fn.Return<Stored, BlobError | WrongSize> {
  const buffer = yield* Effect.promise(() => new Response(body).arrayBuffer().catch(() => undefined))
  if (buffer?.byteLength !== bytes) return yield* new WrongSize({ expected: bytes })
  const read = new Uint8Array(buffer)
  const etag = yield* attempt("store", async () => keep(read))
  return { etag, bytes, checksum: bytesToHex(sha256(read)) }
})

/** Stores bytes as long as the layer lives. */
export const layer: Layer.Layer<Blobs> = Layer.suspend(() => new MemoryBlobs().layer)
