import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Blobs } from "effect-dormouse/files"
import { Uploads } from "effect-dormouse/files/client"
import { describe, expect, it } from "vitest"
import { small } from "../worker/files.ts"
import { bytesOf, cutAtEach, retry, run } from "./uploadNetwork.ts"

const answered = () => "answered" as const

describe("Uploads", () => {
  it("C21: sends a file in parts, tells how far it is, and ends when the file is ready", () =>
    run(answered, ({ begin, download, sent, url }) =>
      Effect.gen(function* () {
        const bytes = bytesOf(5 * small + 3)
        const target = yield* begin(bytes.length, yield* Uploads.checksumOf(new Blob([bytes]), small))
        const progress = yield* Stream.runCollect(Uploads.send(target, new Blob([bytes]), { url }))
        expect(progress.at(-1)).toEqual({ file: target.file, sent: bytes.length, bytes: bytes.length, isReady: true })
        for (const [i, { sent }] of progress.entries()) expect(sent).toBeGreaterThanOrEqual(progress[i - 1]?.sent ?? 0)
        expect(yield* download(target.file)).toEqual(bytes)
        expect(sent).toHaveLength(7)
        // A file that is ready is not sent again.
        const again = yield* Stream.runCollect(Uploads.send(target, new Blob([bytes]), { url }))
        expect(again.map(({ isReady }) => isReady)).toEqual([true])
        expect(sent).toHaveLength(8)
      })
    ))

  it("C21: a small file is one request", () =>
    run(answered, ({ begin, download, sent, url }) =>
      Effect.gen(function* () {
        for (const length of [0, 1, small]) {
          sent.length = 0
          const target = yield* begin(length)
          yield* Stream.runDrain(Uploads.send(target, new Blob([bytesOf(length)]), { url }))
          expect(sent).toEqual(["PUT 1"])
          expect(yield* download(target.file)).toEqual(bytesOf(length))
        }
      })
    ))

  it("C22: goes on after each request that was lost, and after each whose answer was lost", async () => {
    expect(await cutAtEach(bytesOf(3 * small + 1))).toBeGreaterThanOrEqual(5)
  })

  it("C22: an upload that was interrupted between any two parts goes on with those that are missing", async () => {
    const bytes = bytesOf(4 * small)
    for (let parts = 1; parts < 4; parts++) {
      await run(
        ({ method, number }) => (method === "PUT" && number === parts + 2 ? "lost" : "answered"),
        ({ begin, download, sent, url }) =>
          Effect.gen(function* () {
            const target = yield* begin(bytes.length)
            const options = { url, concurrency: 1 }
            const sending = yield* Effect.forkChild(
              Stream.runDrain(Uploads.send(target, new Blob([bytes]), { ...options, retry: Schedule.spaced("1 hour") }))
            )
            yield* Effect.promise(() => expect.poll(() => sent.length).toBe(parts + 2))
            yield* Fiber.interrupt(sending)
            sent.length = 0
            yield* Stream.runDrain(Uploads.send(target, new Blob([bytes]), { ...options, retry }))
            expect(sent).toEqual(["GET", ...Array.from({ length: 4 - parts }, (_, i) => `PUT ${parts + 1 + i}`)])
            expect(yield* download(target.file)).toEqual(bytes)
          })
      )
    }
  })

  it("C22, FI6: a part that arrived twice, and was recorded with the first etag, does not end the upload", async () => {
    let completions = 0
    const blobs = Layer.effect(
      Blobs.Blobs,
      Effect.map(Blobs.Blobs, (blobs) => ({
        ...blobs,
        complete: (key: string, upload: string, parts: ReadonlyArray<Blobs.StoredPart>) =>
          Effect.gen(function* () {
            // A request that was lost, and goes on in the server.
            if (++completions === 1)
              yield* Effect.orDie(blobs.putPart(key, upload, 1, new Blob([bytesOf(small)]).stream(), small))
            yield* blobs.complete(key, upload, parts)
          })
      }))
    ).pipe(Layer.provide(Blobs.layerMemory))
    await run(
      answered,
      ({ begin, download, sent, url }) =>
        Effect.gen(function* () {
          const bytes = bytesOf(2 * small)
          const target = yield* begin(bytes.length)
          yield* Stream.runDrain(Uploads.send(target, new Blob([bytes]), { url, concurrency: 1 }))
          expect(sent).toEqual(["GET", "PUT 1", "PUT 2", "POST", "PUT 1", "PUT 2"])
          expect(completions).toBe(2)
          expect(yield* download(target.file)).toEqual(bytes)
        }),
      blobs
    )
  })

  it("C23: what the server does not take fails with its reason, and is not sent again", () =>
    run(answered, ({ begin, sent, url }) =>
      Effect.gen(function* () {
        const target = yield* begin(small)
        const failure = (upload: Stream.Stream<unknown, Uploads.UploadError>) =>
          Effect.map(Effect.exit(Stream.runDrain(upload)), (exit) =>
            Exit.isFailure(exit) ? Option.getOrThrow(Cause.findErrorOption(exit.cause)) : undefined
          )
        expect(yield* failure(Uploads.send(target, new Blob([bytesOf(3)]), { url }))).toMatchObject({ status: 0 })
        const forged = { ...target, url: target.url.replace(/expires=\d/, "expires=9") }
        expect(yield* failure(Uploads.send(forged, new Blob([bytesOf(small)]), { url }))).toMatchObject({ status: 403 })
        expect(sent).toHaveLength(1)
        yield* Uploads.cancel(target, { url })
        expect(yield* failure(Uploads.send(target, new Blob([bytesOf(small)]), { url }))).toMatchObject({ status: 404 })
      })
    ))
})
