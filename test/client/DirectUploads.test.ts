import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Uploads } from "effect-dormouse/files/client"
import { S3Blobs } from "effect-dormouse/files/s3"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { type S3Server, startS3 } from "../deployment/s3.ts"
import { small } from "../worker/files.ts"
import { bytesOf, cutAtEach, retry, run } from "./uploadNetwork.ts"

/** Uploads whose parts go to a store of S3, over a network that cuts requests. */

describe("Uploads to the store itself", () => {
  let s3: S3Server
  beforeAll(async () => {
    s3 = await startS3()
  })
  afterEach(() => {
    s3.refuse = () => undefined
  })
  afterAll(() => s3?.close())
  const blobs = () => S3Blobs.layer(s3.options)
  const answered = () => "answered" as const
  const bytes = bytesOf(3 * small + 1)
  const file = new Blob([bytes])

  it("C24: the server says where each part goes and what has arrived, and gets no bytes of a large file", () =>
    run(
      answered,
      ({ begin, download, sent, url }) =>
        Effect.gen(function* () {
          const target = yield* begin(bytes.length, yield* Uploads.checksumOf(file, small))
          const progress = yield* Stream.runCollect(Uploads.send(target, file, { url, concurrency: 1 }))
          expect(progress.at(-1)).toEqual({ file: target.file, sent: bytes.length, bytes: bytes.length, isReady: true })
          expect(sent).toEqual([
            "GET",
            ...[1, 2, 3, 4].flatMap((n) => [`POST ${n}`, `PUT ${n} store`, `POST ${n} etag`])
          ])
          expect(yield* download(target.file)).toEqual(bytes)
          // A file of one part goes through the server.
          sent.length = 0
          const whole = yield* begin(small)
          yield* Stream.runDrain(Uploads.send(whole, new Blob([bytesOf(small)]), { url }))
          expect(sent).toEqual(["PUT 1"])
          expect(yield* download(whole.file)).toEqual(bytesOf(small))
        }),
      blobs()
    ))

  it("C24, C22: goes on after each request that was lost, and after each whose answer was lost", async () => {
    expect(await cutAtEach(bytes, blobs)).toBeGreaterThanOrEqual(13)
  })

  it("C24: without a way to the store, all parts go through the server after one failure", () =>
    run(
      ({ isDirect }) => (isDirect ? "lost" : "answered"),
      ({ begin, download, sent, url }) =>
        Effect.gen(function* () {
          const target = yield* begin(bytes.length)
          yield* Stream.runDrain(Uploads.send(target, file, { url, retry, concurrency: 1 }))
          expect(sent).toEqual(["GET", "POST 1", "PUT 1 store", "PUT 1", "PUT 2", "PUT 3", "PUT 4"])
          expect(yield* download(target.file)).toEqual(bytes)
        }),
      blobs()
    ))

  it("C24: a store that has taken a part is asked again after it failed, with another URL", () => {
    let count = 0
    s3.refuse = ({ method, url }) =>
      method === "PUT" && url?.includes("X-Amz-Signature") && ++count === 2 ? 503 : undefined
    return run(
      answered,
      ({ begin, download, sent, url }) =>
        Effect.gen(function* () {
          const target = yield* begin(2 * small)
          const half = new Blob([bytes.slice(0, 2 * small)])
          yield* Stream.runDrain(Uploads.send(target, half, { url, retry, concurrency: 1 }))
          const again = ["POST 2", "PUT 2 store", "POST 2", "PUT 2 store", "POST 2 etag"]
          expect(sent).toEqual(["GET", "POST 1", "PUT 1 store", "POST 1 etag", ...again])
          expect(yield* download(target.file)).toEqual(bytes.slice(0, 2 * small))
        }),
      blobs()
    )
  })

  it("C24, C22: an upload that was interrupted between any two parts goes on with those that are missing", async () => {
    for (let parts = 1; parts < 4; parts++) {
      let isCut = true
      await run(
        ({ isDirect, url }) => (isCut && isDirect && url.includes(`partNumber=${parts + 1}&`) ? "lost" : "answered"),
        ({ begin, download, sent, url }) =>
          Effect.gen(function* () {
            const target = yield* begin(bytes.length)
            const options = { url, concurrency: 1 }
            const sending = yield* Effect.forkChild(
              Stream.runDrain(Uploads.send(target, file, { ...options, retry: Schedule.spaced("1 hour") }))
            )
            yield* Effect.promise(() => expect.poll(() => sent.at(-1)).toBe(`PUT ${parts + 1} store`))
            yield* Fiber.interrupt(sending)
            isCut = false
            sent.length = 0
            yield* Stream.runDrain(Uploads.send(target, file, { ...options, retry }))
            const missing = Array.from({ length: 4 - parts }, (_, i) => parts + 1 + i)
            expect(sent).toEqual(["GET", ...missing.flatMap((n) => [`POST ${n}`, `PUT ${n} store`, `POST ${n} etag`])])
            expect(yield* download(target.file)).toEqual(bytes)
          }),
        blobs()
      )
    }
  })
})
