import * as Effect from "effect/Effect"
import { Blobs } from "effect-dormouse/files"
import { expect } from "vitest"
import { mebibyte } from "../../worker/files.ts"

/** What a layer of `Blobs` does with parts, whatever store it is over. `keepsAll`: it keeps each part under its etag. */
export const partsThatChange = (keepsAll = false) =>
  Effect.gen(function* () {
    const { abort, begin, complete, putPart, size } = yield* Blobs.Blobs
    const bytes = 5 * mebibyte
    const body = (byte: number) => new Blob([new Uint8Array(bytes).fill(byte)]).stream()
    const key = "files-parts/file/key"
    const upload = yield* begin(key)
    const first = yield* putPart(key, upload, 1, body(1), bytes)
    const second = yield* putPart(key, upload, 1, body(2), bytes)
    expect(second.etag).not.toBe(first.etag)
    if (!keepsAll) {
      const error = yield* Effect.flip(complete(key, upload, [{ part: 1, etag: first.etag }]))
      expect(error).toBeInstanceOf(Blobs.PartsChanged)
      expect(yield* size(key)).toBe(undefined)
    }
    yield* complete(key, upload, [{ part: 1, etag: second.etag }])
    expect(yield* size(key)).toBe(bytes)
    // What is complete fails in another way, and is not changed by that.
    const again = yield* Effect.flip(complete(key, upload, [{ part: 1, etag: second.etag }]))
    expect(again).toBeInstanceOf(Blobs.BlobError)
    yield* abort(key, upload)
    expect(yield* size(key)).toBe(bytes)
  })
