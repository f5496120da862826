/** What the test of uploads has in its page: it sends a file and returns its progress. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Uploads } from "effect-dormouse/files/client"

declare global {
  var sendFile: (target: Uploads.Target, bytes: number) => Promise<ReadonlyArray<Uploads.UploadProgress>>
}

globalThis.sendFile = (target, bytes) =>
  Effect.runPromise(Stream.runCollect(Uploads.send(target, new Blob([new Uint8Array(bytes)]), { concurrency: 1 })))
