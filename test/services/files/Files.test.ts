/// <reference types="node" />
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Blobs } from "effect-dormouse/files"
import { DirectoryBlobs } from "effect-dormouse/files/node"
import { describe, expect, it } from "vitest"
import { memory } from "../../deployment/memory.ts"
import { makeApp, mebibyte, options } from "../../worker/files.ts"
import { partsThatChange } from "./blobCases.ts"
import { suite } from "./fileCases.ts"

suite("in memory", async () => {
  const blobs = new Blobs.MemoryBlobs()
  const app = await memory(makeApp(blobs.layer), options)
  return { ...app, keys: async (prefix) => [...blobs.stored.keys()].filter((key) => key.startsWith(prefix)) }
})

suite("in memory, with a directory", async () => {
  const directory = mkdtempSync(join(tmpdir(), "dormouse-files-"))
  const app = await memory(makeApp(DirectoryBlobs.layer(directory)), options)
  const keys = (prefix: string) =>
    Effect.runPromise(
      Effect.flatMap(Blobs.Blobs, ({ list }) => list(prefix)).pipe(Effect.provide(DirectoryBlobs.layer(directory)))
    )
  const close = async () => {
    await app.close()
    rmSync(directory, { recursive: true })
  }
  return { ...app, keys, close }
})

it("FI6: parts that are stored again, in memory", () =>
  Effect.runPromise(partsThatChange().pipe(Effect.provide(Blobs.layerMemory))))

it("FI6: parts that are stored again, in a directory", async () => {
  const directory = mkdtempSync(join(tmpdir(), "dormouse-files-"))
  await Effect.runPromise(partsThatChange(true).pipe(Effect.provide(DirectoryBlobs.layer(directory))))
  rmSync(directory, { recursive: true })
})

/** A body whose chunks are made when they are read. */
const lazily = (chunks: number, size: number) => {
  const made = { chunks: 0 }
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull: (controller) => {
        if (made.chunks === chunks) return controller.close()
        made.chunks++
        controller.enqueue(new Uint8Array(size))
      }
    },
    { highWaterMark: 0 }
  )
  return { body, made }
}

describe("bodies", () => {
  it("FI4: are read and sent as fast as whoever takes them, and are never in memory as a whole", async () => {
    const size = 64 * 1024
    const bytes = 4 * mebibyte
    const count = bytes / size
    const taken: Array<Blobs.Body> = []
    const download = lazily(count, size)
    const store = Layer.effect(
      Blobs.Blobs,
      Effect.map(Blobs.Blobs, (blobs) => ({
        ...blobs,
        put: (_key: string, body: Blobs.Body) => {
          taken.push(body)
          return Effect.promise(async () => {
            const reader = body.getReader()
            for (let i = 0; i < 3; i++) await reader.read()
            expect(upload.made.chunks).toBeLessThan(8)
            while (!(await reader.read()).done) {}
            return { etag: "e", bytes, checksum: "0".repeat(64) }
          })
        },
        get: () => Effect.succeed(download.body)
      }))
    ).pipe(Layer.provide(Blobs.layerMemory))
    const app = await memory(makeApp(store), options)
    const call = async (tag: string, payload: unknown): Promise<any> => {
      const body = JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
      const headers = { "content-type": "application/json", "x-dormouse-tenant": "files-flat" }
      const response = await app.fetch("/rpc", { method: "POST", headers, body })
      return ((await response.json()) as ReadonlyArray<any>).find(({ _tag }) => _tag === "Exit").exit.value
    }
    const target = await call("begin", {
      bucket: "attachments",
      new: { name: "a.png", type: "image/png", bytes }
    })
    const upload = lazily(count, size)
    const init = { method: "PUT", body: upload.body, duplex: "half" }
    expect((await app.fetch(target.url, init)).status).toBe(200)
    expect([taken.length, upload.made.chunks]).toEqual([1, count])
    const path = await call("url", { bucket: "attachments", file: target.file })
    const reader = (await app.fetch(path)).body!.getReader()
    await reader.read()
    expect(download.made.chunks).toBeLessThan(8)
    await reader.cancel()
    await app.close()
  })
})
