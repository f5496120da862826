import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Blobs } from "effect-dormouse/files"
import { Uploads } from "effect-dormouse/files/client"
import { TestApp } from "effect-dormouse/testing"
import { expect } from "vitest"
import * as Transport from "../../src/client/Transport.ts"
import { FilesTestApi, makeApp } from "../worker/files.ts"

/** Uploads over a network that cuts requests. */

export const retry = Schedule.spaced("1 millis")
export const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) & 255)

/** What happens to a request: it is answered, lost before it arrives, or its answer is lost. */
export type Fate = "answered" | "lost" | "unanswered"

/** Runs a body with an app in memory, whose requests for files have a fate each, as have those to the store itself. */
export const run = <A>(
  fate: (request: {
    readonly number: number
    readonly method: string
    readonly url: string
    readonly isDirect: boolean
  }) => Fate,
  body: (tools: {
    readonly begin: (bytes: number, checksum?: string) => Effect.Effect<Uploads.Target>
    readonly download: (file: Uploads.Target["file"]) => Effect.Effect<Uint8Array>
    readonly sent: Array<string>
    readonly url: string
  }) => Effect.Effect<A, unknown>,
  blobs: Layer.Layer<Blobs.Blobs> = new Blobs.MemoryBlobs().layer
): Promise<A> => {
  const sent: Array<string> = []
  let number = 0
  return Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { transport, url } = yield* TestApp
        const client = yield* TestApp.client(FilesTestApi)
        const fetch = yield* Effect.provide(Transport.Fetch, transport)
        const cut = async (url: string, init: RequestInit) => {
          const { method = "GET" } = init
          const { searchParams } = new URL(url)
          const isDirect = searchParams.has("X-Amz-Signature")
          const part = searchParams.get(isDirect ? "partNumber" : "part") ?? ""
          const what = isDirect ? "store" : searchParams.has("etag") ? "etag" : ""
          sent.push([method, part, what].filter((word) => word !== "").join(" "))
          number++
          const fated = fate({ number, method, url, isDirect })
          if (fated === "lost") throw new TypeError("the connection was lost")
          const response = await (isDirect ? globalThis.fetch(url, init) : fetch(url, init))
          if (fated === "unanswered") throw new TypeError("the connection was lost")
          return response
        }
        const tools = {
          sent,
          url,
          begin: (bytes: number, checksum?: string) =>
            client
              .mutate("begin", {
                bucket: "small",
                new: { name: "a.txt", type: "text/plain", bytes, ...(checksum !== undefined && { checksum }) }
              })
              .pipe(Effect.orDie),
          download: (file: Uploads.Target["file"]) =>
            Effect.gen(function* () {
              const path = yield* client.query("url", { bucket: "small", file }).pipe(Effect.orDie)
              const response = yield* Effect.promise(() => fetch(url + path, {}))
              return new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
            })
        }
        return yield* body(tools).pipe(Effect.provideService(Transport.Fetch, cut), Effect.orDie)
      })
    ).pipe(Effect.provide(TestApp.layer(makeApp(blobs), { enter: () => true })))
  )
}

/** Sends a file once for each of its requests, which is lost, or its answer. Returns how many requests the last one took. */
export const cutAtEach = async (
  bytes: Uint8Array<ArrayBuffer>,
  blobs?: () => Layer.Layer<Blobs.Blobs>
): Promise<number> => {
  let requests = Number.POSITIVE_INFINITY
  for (const what of ["lost", "unanswered"] as const) {
    for (let cut = 1; cut <= Math.min(requests, 20); cut++) {
      requests = await run(
        ({ number }) => (number === cut ? what : "answered"),
        ({ begin, download, sent, url }) =>
          Effect.gen(function* () {
            const target = yield* begin(bytes.length)
            yield* Stream.runDrain(Uploads.send(target, new Blob([bytes]), { url, retry, concurrency: 2 }))
            expect(yield* download(target.file)).toEqual(bytes)
            return sent.length
          }),
        blobs?.()
      )
    }
  }
  return requests
}
