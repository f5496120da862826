/**
 * Answers the requests of uploads and downloads in the Worker: bytes stream between the client and what stores them (FI4).
 * The object says before what a request may do, and records afterwards what was done.
 */
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Calls } from "../../contract/CallsTag.ts"
import { FileRef, type UploadStatus } from "../../contract/FileServices.ts"
import { type FileRequest, placeIn, type ServedFiles, segmentsOf } from "../../contract/Files.ts"
import { Blobs, type Body, PartsChanged, type Stored, WrongSize } from "../Blobs.ts"
import { downloadOf } from "./FileHeaders.ts"
import { RequestRefused } from "./FilesApi.ts"
import type { Admitted, Located, Presignable, Progress, UploadUrl } from "./TransactionFiles.ts"

/** The file that a request is about. */
interface Target {
  readonly file: FileRef
  /** Of a download. */
  readonly name: string | undefined
}

const decodeFile = Schema.decodeUnknownOption(FileRef)

const targetOf = (url: URL): Target | undefined => {
  const [, id, name, ...more] = segmentsOf(url)
  const file = Option.getOrUndefined(decodeFile(id))
  return file === undefined || more.length > 0 ? undefined : { file, name }
}

const refuse = (status: number, detail: string) => new RequestRefused({ status, detail })

const answer = (status: number, error: string, headers: Record<string, string> = {}): Response =>
  Response.json({ error }, { status, headers: { "cache-control": "no-store", ...headers } })

/** The files of the Worker. `services` store the bytes. */
export const serve = (services: Context.Context<never>): ServedFiles => {
  const run = <A, E>(effect: Effect.Effect<A, E, Blobs>): Promise<A> =>
    // `App.make` requires a layer that provides it.
    Effect.runPromiseWith(services)(Effect.provideService(effect, Blobs, Context.getUnsafe(services, Blobs)))
  return {
    removeAll: (object) => run(removeAll(object)),
    respond: (options) =>
      run(
        handle(options).pipe(
          Effect.catchIf(
            (error) => error instanceof RequestRefused,
            ({ detail, status }) => Effect.succeed(answer(status, detail))
          ),
          Effect.catchCause((cause) =>
            Effect.as(
              Effect.logWarning("a request for a file failed", cause),
              answer(503, "the file could not be stored or read; try again", { "retry-after": "1" })
            )
          ),
          Effect.tap(() => drain(options.request))
        )
      )
  }
}

/** Deletes all bytes of an object. */
const removeAll = Effect.fnUntraced(function* (object: string) {
  const blobs = yield* Blobs
  for (;;) {
    const keys = yield* blobs.list(`${object}/`)
    if (keys.length === 0) return
    yield* blobs.remove(keys)
  }
})

const handle = Effect.fnUntraced(function* ({ callsOf, request, url }: FileRequest) {
  const target = targetOf(url)
  const calls = target && callsOf(placeIn(url))
  if (target === undefined || calls === undefined) return answer(404, "there is no such file")
  const { file, name } = target
  if (name !== undefined) {
    if (request.method === "GET" || request.method === "HEAD") return yield* download(calls, request, url, file)
    return answer(405, "use GET", { allow: "GET, HEAD" })
  }
  const signed = { file, expires: timeIn(url), signature: url.searchParams.get("signature") ?? "" }
  switch (request.method) {
    case "PUT":
      return yield* put(calls, request, url, signed)
    case "GET":
      return yield* status(calls, signed)
    case "POST": {
      if (url.searchParams.has("part")) return yield* direct(calls, request, url, signed)
      const progress: Progress = yield* calls.call("~files.progress", { url: signed })
      return yield* finish(calls, file, progress)
    }
    case "DELETE":
      yield* calls.call("~files.cancel", { url: signed })
      return new Response(null, { status: 204 })
    default:
      return answer(405, "use PUT", { allow: "PUT, GET, POST, DELETE" })
  }
})

const timeIn = (url: URL): number => Number(/^\d{1,16}$/.exec(url.searchParams.get("expires") ?? "")?.[0] ?? 0)

const json = (body: unknown): Response => Response.json(body, { headers: { "cache-control": "no-store" } })

// --- uploads

/** How far an upload is, and whether parts can be sent to the store itself. */
const status = Effect.fnUntraced(function* (calls: Calls["Service"], url: UploadUrl) {
  const found: UploadStatus = yield* calls.call("~files.status", { url })
  const { presign } = yield* Blobs
  return json(presign === undefined ? found : { ...found, isDirect: true })
})

const partIn = (url: URL): Effect.Effect<number, RequestRefused> => {
  const part = Number(url.searchParams.get("part") ?? 1)
  return Number.isSafeInteger(part) ? Effect.succeed(part) : Effect.fail(refuse(400, "part must be a number"))
}

/** Milliseconds for which a client may send a part to the store itself, within the time of its upload. */
const directTime = 60 * 60 * 1000

/** Characters of an etag. Those of S3 have 34. */
const etagLength = 200

/** Answers where a client may send a part itself, or takes note that it has. */
const direct = Effect.fnUntraced(function* (calls: Calls["Service"], request: Request, url: URL, signed: UploadUrl) {
  const { presign } = yield* Blobs
  if (presign === undefined) return yield* refuse(409, "parts are sent here")
  const part = yield* partIn(url)
  const etag = url.searchParams.get("etag")
  if (etag !== null) {
    if (etag === "" || etag.length > etagLength) return yield* refuse(400, "etag must be that of the part")
    const progress: Progress = yield* calls.call("~files.sent", { url: signed, part, etag })
    return yield* finish(calls, signed.file, progress)
  }
  const checksum = yield* digestOf(request.headers)
  if (checksum === undefined) return yield* refuse(400, "content-digest must have the SHA-256 of the part")
  const { bytes, expires, key, upload }: Presignable = yield* calls.call("~files.presign", {
    url: signed,
    part,
    checksum
  })
  const until = Math.min(expires, (yield* Clock.currentTimeMillis) + directTime)
  const current = upload ?? (yield* begin(calls, key))
  return json(yield* presign(key, current, { part, bytes, checksum, expires: until }))
})

/** Stores a part. */
const put = Effect.fnUntraced(function* (calls: Calls["Service"], request: Request, url: URL, signed: UploadUrl) {
  const { file } = signed
  const part = yield* partIn(url)
  const expected = yield* digestOf(request.headers)
  const length = request.headers.get("content-length")
  const { presign } = yield* Blobs
  const admitted: Admitted = yield* calls.call("~files.admit", {
    url: signed,
    part,
    length: length === null ? null : Number(length),
    isDirect: presign !== undefined
  })
  const { key } = admitted
  const dropped = admitted.isWhole ? drop(calls, file, key) : Effect.void
  const stored = yield* store(calls, admitted, part, request.body ?? empty()).pipe(
    Effect.tapError((error) => (error instanceof WrongSize ? dropped : Effect.void)),
    Effect.catchIf(
      (error) => error instanceof WrongSize,
      ({ expected }) => Effect.fail(refuse(400, `the body must have ${expected} bytes`))
    )
  )
  const { checksum, etag } = stored
  if (expected !== undefined && expected !== checksum) {
    yield* dropped
    return yield* refuse(400, "the body does not have the SHA-256 of content-digest")
  }
  const progress: Progress = yield* calls
    .call("~files.stored", { file, key, stored: { part, etag, checksum } })
    .pipe(
      Effect.tapCause((cause) =>
        Effect.flatMap(isGone(calls, signed, cause), (isGone) => (isGone ? dropped : Effect.void))
      )
    )
  if (progress.isWrong) yield* dropped
  return yield* finish(calls, file, progress)
})

/** Whether a file does not take bytes that are stored: it was refused, or its outcome is unknown and there is no such file. */
const isGone = (calls: Calls["Service"], signed: UploadUrl, cause: Cause.Cause<unknown>): Effect.Effect<boolean> => {
  const isRefused = (cause: Cause.Cause<unknown>) =>
    Option.exists(Cause.findErrorOption(cause), (error) => error instanceof RequestRefused)
  if (isRefused(cause)) return Effect.succeed(true)
  return Effect.map(
    Effect.exit(calls.call("~files.status", { url: signed })),
    (exit) => Exit.isFailure(exit) && isRefused(exit.cause)
  )
}

/** Stores a part where the object said. */
const store = Effect.fnUntraced(function* (
  calls: Calls["Service"],
  { bytes, isWhole, key, upload }: Admitted,
  part: number,
  body: Body
) {
  const blobs = yield* Blobs
  if (isWhole) return yield* blobs.put(key, body, bytes)
  const current = upload ?? (yield* begin(calls, key))
  const stored: Stored = yield* blobs.putPart(key, current, part, body, bytes)
  return stored
})

/** Begins an upload in parts. Of two requests that do so at the same time, both go on with the first. */
const begin = Effect.fnUntraced(function* (calls: Calls["Service"], key: string) {
  const blobs = yield* Blobs
  const own = yield* blobs.begin(key)
  const current: string = yield* calls.call("~files.started", { key, upload: own })
  if (current !== own) yield* Effect.ignore(blobs.abort(key, own))
  return current
})

/** Makes the parts one file, once all are there. */
const finish = Effect.fnUntraced(function* (
  calls: Calls["Service"],
  file: FileRef,
  { complete, isWrong, status }: Progress
) {
  if (isWrong) return yield* refuse(422, "the file does not have the checksum that was declared; send it again")
  if (complete === null) return json(status)
  const { bytes, key, parts, upload } = complete
  const blobs = yield* Blobs
  if (upload === null) return yield* refuse(409, "a part is missing")
  const completed = yield* Effect.exit(blobs.complete(key, upload, parts))
  // Another request may have completed it.
  const size = yield* blobs.size(key)
  if (size !== bytes) {
    if (completed._tag === "Failure") {
      const isChanged = Option.exists(Cause.findErrorOption(completed.cause), (error) => error instanceof PartsChanged)
      if (isChanged) return json(yield* calls.call("~files.restart", { file, key }))
      return yield* Effect.failCause(completed.cause)
    }
    return yield* refuse(409, `the file has ${size} bytes instead of ${bytes}`)
  }
  const ready = yield* calls
    .call("~files.completed", { file, key })
    .pipe(Effect.tapError((error) => (error instanceof RequestRefused ? drop(calls, file, key) : Effect.void)))
  return json(ready)
})

/** Deletes bytes that no row will name. When that fails, a sweep does it later. */
const drop = (calls: Calls["Service"], file: FileRef, key: string) =>
  Effect.gen(function* () {
    const blobs = yield* Blobs
    yield* blobs.remove([key])
    yield* calls.call("~files.forget", { file, keys: [key], isFile: false })
    // What cannot be deleted now is deleted by a sweep.
  }).pipe(Effect.ignoreCause)

/** Bytes of a body that are read of a request that was refused before. */
const drainedBytes = 16 * 1024 * 1024

/** Reads a body that nobody has read: some servers reset the connection otherwise, and the client does not see the answer. */
const drain = ({ body, bodyUsed }: Request): Effect.Effect<void> =>
  Effect.ignoreCause(
    Effect.promise(async () => {
      if (body === null || bodyUsed) return
      let bytes = 0
      for await (const chunk of body) {
        bytes += chunk.length
        if (bytes > drainedBytes) return
      }
    })
  )

const empty = (): Body => new Response(new Uint8Array()).body!

/** The SHA-256 that a request declares of its body (RFC 9530), in hexadecimal. */
const digestOf = (headers: Headers): Effect.Effect<string | undefined, RequestRefused> => {
  const header = headers.get("content-digest")
  if (header === null) return Effect.succeed(undefined)
  const [, base64 = ""] = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header) ?? []
  const unreadable = Effect.fail(refuse(400, "content-digest must have a SHA-256"))
  if (base64 === "") return unreadable
  return Result.match(Base64.decode(base64), {
    onFailure: () => unreadable,
    onSuccess: (bytes) => Effect.succeed(bytesToHex(bytes))
  })
}

// --- downloads

const download = Effect.fnUntraced(function* (calls: Calls["Service"], request: Request, url: URL, file: FileRef) {
  const disposition = url.searchParams.get("disposition") === "attachment" ? "attachment" : "inline"
  const signature = url.searchParams.get("signature")
  const signed = signature === null ? {} : { signed: { use: disposition, expires: timeIn(url), signature } }
  const located: Located = yield* calls.call("~files.locate", { file, ...signed, disposition })
  const { headers, range, status } = downloadOf(located, request.headers, yield* Clock.currentTimeMillis)
  if (range === undefined || request.method === "HEAD" || range.length === 0)
    return new Response(null, { status, headers })
  const blobs = yield* Blobs
  const body = yield* blobs.get(located.key, range)
  if (body === undefined) {
    yield* Effect.logError(`the bytes of file ${file} are missing`)
    return yield* refuse(404, "there is no such file")
  }
  return new Response(body, { status, headers })
})
