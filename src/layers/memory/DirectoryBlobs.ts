/**
 * Stores the bytes of files in a directory of the machine, for programs on Node and for development.
 * A blob is written under another name and renamed when it is whole: after a crash there is no half of one.
 */
import { createHash, randomUUID } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Readable, Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  attempt,
  attemptToStore,
  type BlobError,
  Blobs,
  type Body,
  type Stored,
  WrongSize
} from "../../services/Blobs.ts"

/** Folders in the directory: what is whole, and what is being sent. */
const [wholeFolder, partsFolder] = ["blobs", "uploads"]

/** Stores bytes in a directory, which is made if it is not there. */
export const layer = (directory: string): Layer.Layer<Blobs> => {
  const pathOf = (key: string) => join(directory, wholeFolder, ...key.split("/").map(escaped))
  const uploadOf = (upload: string) => join(directory, partsFolder, escaped(upload))
  const partOf = (upload: string, part: number, etag: string) => join(uploadOf(upload), `${part} ${escaped(etag)}`)
  const scratch = () => join(directory, partsFolder, randomUUID())
  return Layer.succeed(Blobs, {
    put: (key, body, bytes) => store(body, bytes, scratch(), () => pathOf(key)),
    begin: (_key) =>
      attempt("begin", async () => {
        const upload = randomUUID()
        await mkdir(uploadOf(upload), { recursive: true })
        return upload
      }),
    putPart: (_key, upload, part, body, bytes) =>
      store(body, bytes, scratch(), async (etag) => {
        // An upload that is complete or was aborted takes no parts.
        await stat(uploadOf(upload))
        return partOf(upload, part, etag)
      }),
    complete: (key, upload, parts) =>
      attempt("complete", async () => {
        const joined = scratch()
        await mkdir(dirname(joined), { recursive: true })
        const out = createWriteStream(joined)
        for (const { etag, part } of parts) {
          await pipeline(createReadStream(partOf(upload, part, etag)), out, { end: false })
        }
        await new Promise<void>((resolve, reject) => out.on("error", reject).end(resolve))
        await move(joined, pathOf(key))
        await rm(uploadOf(upload), { recursive: true, force: true })
      }),
    abort: (_key, upload) => attempt("abort", () => rm(uploadOf(upload), { recursive: true, force: true })),
    get: (key, { length, offset }) =>
      attempt("get", async () => {
        const path = pathOf(key)
        if ((await sizeOf(path)) === undefined) return undefined
        const file = createReadStream(path, { start: offset, end: offset + length - 1 })
        // A stream of Node is one of the web; the declarations of the two platforms differ.
        return Readable.toWeb(file) as unknown as Body
      }),
    size: (key) => attempt("size", () => sizeOf(pathOf(key))),
    remove: (keys) =>
      attempt("remove", async () => {
        for (const key of keys) await rm(pathOf(key), { force: true })
      }),
    list: (prefix) =>
      attempt("list", async () => {
        const found = await readdir(join(directory, wholeFolder), { recursive: true, withFileTypes: true }).catch(
          () => []
        )
        const root = join(directory, wholeFolder)
        const keys = found
          .filter((entry) => entry.isFile())
          .map(({ name, parentPath }) =>
            [...parentPath.slice(root.length + 1).split("/"), name].map(unescaped).join("/")
          )
        return keys.filter((key) => key.startsWith(prefix))
      })
  })
}

/** A part of a key as the name of a file: no dots alone, no separators, and no upper and lower case that some disks mix up. */
const escaped = (part: string): string =>
  encodeURIComponent(part).replace(/[A-Z.~!*'()]/g, (character) => `=${character.charCodeAt(0).toString(16)}`)
const unescaped = (name: string): string =>
  decodeURIComponent(name.replace(/=([0-9a-f]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16))))

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    (cause) => {
      if (cause.code === "ENOENT") return undefined
      throw cause
    }
  )

const move = async (from: string, to: string): Promise<void> => {
  await mkdir(dirname(to), { recursive: true })
  await rename(from, to)
}

/** Writes a body beside, and moves it to its path when it is whole. */
const store = (
  body: Body,
  bytes: number,
  scratch: string,
  pathOf: (etag: string) => string | Promise<string>
): Effect.Effect<Stored, BlobError | WrongSize> =>
  attemptToStore(async () => {
    const hash = createHash("sha256")
    const counted = counting(bytes, hash)
    await mkdir(dirname(scratch), { recursive: true })
    try {
      await pipeline(Readable.from(body), counted, createWriteStream(scratch))
      const etag = randomUUID()
      await move(scratch, await pathOf(etag))
      return { etag, bytes, checksum: hash.digest("hex") }
    } catch (cause) {
      await rm(scratch, { force: true })
      throw cause
    }
  })

/** Passes bytes on, computes their hash, and fails unless they are so many. */
const counting = (bytes: number, hash: { readonly update: (chunk: Uint8Array) => unknown }): Transform => {
  let count = 0
  const problem = () => new WrongSize({ expected: bytes })
  return new Transform({
    transform: (chunk: Uint8Array, _encoding, next) => {
      count += chunk.length
      if (count > bytes) return next(problem())
      hash.update(chunk)
      next(null, chunk)
    },
    flush: (next) => next(count === bytes ? null : problem())
  })
}
