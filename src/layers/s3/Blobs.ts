/**
 * Stores the bytes of files in a bucket of S3, or of another service with its protocol, such as R2.
 * Clients send the parts of large files to the bucket itself, by URLs that are signed for these bytes alone (FI14).
 */
import { AwsV4Signer } from "aws4fetch"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import {
  attempt,
  attemptToStore,
  BlobError,
  Blobs,
  type Body,
  PartsChanged,
  type PresignedPart,
  type PresignedPut,
  type Stored,
  WrongSize
} from "../../services/Blobs.ts"
import { HashedBody } from "./HashedBody.ts"
import * as S3Xml from "./S3Xml.ts"

/** A text, or the variable that has it. */
type Text = string | Config.Config<string>

/** A bucket, and who may use it. */
export interface S3Options {
  /** The URL of the service: `https://<account>.r2.cloudflarestorage.com` for R2. The bucket is the first segment of paths. */
  readonly endpoint: Text
  readonly bucket: Text
  /** `auto` unless given, which R2 takes. */
  readonly region?: Text
  readonly accessKeyId: Text
  readonly secretAccessKey: Redacted.Redacted<string> | Config.Config<Redacted.Redacted<string>>
  /** Whether clients send the parts of large files to the bucket itself: it must allow their origin. So unless given. */
  readonly isDirect?: boolean
}

/**
 * Stores bytes in a bucket of S3. What is a `Config` is read from the variables of the Worker. The layer dies, as it is built with the
 * app, when one is missing.
 */
export const layer = (options: S3Options): Layer.Layer<Blobs> =>
  Layer.effect(
    Blobs,
    Effect.gen(function* () {
      const endpoint = yield* valueOf(options.endpoint)
      const bucket = {
        url: `${endpoint.replace(/\/+$/, "")}/${yield* valueOf(options.bucket)}`,
        region: yield* valueOf(options.region ?? "auto"),
        accessKeyId: yield* valueOf(options.accessKeyId),
        secretAccessKey: Redacted.value(yield* valueOf(options.secretAccessKey))
      }
      return make(bucket, options.isDirect ?? true)
    }).pipe(Effect.orDie)
  )

const valueOf = <A>(value: A | Config.Config<A>): Effect.Effect<A, Config.ConfigError> =>
  Config.isConfig(value) ? Effect.suspend(() => value) : Effect.succeed(value)

interface Bucket {
  /** Of the bucket, without a slash at its end. */
  readonly url: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Keys that are deleted at the same time. S3 deletes several by one request only with an MD5 of it. */
const deletesAtOnce = 8

const make = (bucket: Bucket, isDirect: boolean): Blobs["Service"] => {
  const send = (operation: string, request: S3Request) => sendTo(bucket, operation, request)
  /** Sends a request whose answer has nothing to read. A body that nobody reads holds its connection. */
  const tell = (operation: string, request: S3Request) =>
    Effect.tap(send(operation, request), ({ body }) => attempt(operation, async () => body?.cancel()))
  const read = Effect.fnUntraced(function* (operation: string, request: S3Request, path: ReadonlyArray<string>) {
    const response = yield* send(operation, request)
    const text = yield* attempt(operation, () => response.text())
    return yield* S3Xml.textsAt(operation, text, path)
  })
  return {
    put: (key, body, bytes) => store(bucket, { method: "PUT", key }, body, bytes),
    begin: (key) =>
      Effect.flatMap(read("begin", { method: "POST", key, query: { uploads: "" } }, ["*", "UploadId"]), ([id]) =>
        id === undefined ? failure("begin", "there is no upload in the answer") : Effect.succeed(id)
      ),
    putPart: (key, upload, part, body, bytes) =>
      store(bucket, { method: "PUT", key, query: partQuery(upload, part) }, body, bytes),
    complete: Effect.fnUntraced(
      function* (key, upload, parts) {
        const body = yield* S3Xml.completion(parts)
        // S3 may send the status before the parts are one blob: a failure is in the body then.
        const problems = yield* read("complete", { method: "POST", key, query: { uploadId: upload }, body }, [
          "Error",
          "Code"
        ])
        for (const problem of problems) yield* failure("complete", problem)
      },
      Effect.mapError((error) => (/\bInvalidPart\b/.test(String(error.cause)) ? new PartsChanged() : error))
    ),
    // There is nothing under way of one that is complete, or was aborted before.
    abort: (key, upload) =>
      Effect.asVoid(tell("abort", { method: "DELETE", key, query: { uploadId: upload }, missing: true })),
    get: (key, { length, offset }) =>
      Effect.flatMap(
        send("get", {
          method: "GET",
          key,
          headers: { range: `bytes=${offset}-${offset + length - 1}` },
          missing: true
        }),
        ({ body, status }) => {
          // The body of a response is a stream of bytes.
          if (status === 206) return Effect.succeed(body as Body)
          const ended = attempt("get", async () => body?.cancel())
          if (status === 404) return Effect.as(ended, undefined)
          return Effect.andThen(ended, failure("get", "S3 has not sent the range that was asked for"))
        }
      ),
    size: (key) =>
      Effect.map(tell("size", { method: "HEAD", key, missing: true }), ({ headers, status }) =>
        status === 404 ? undefined : Number(headers.get("content-length"))
      ),
    remove: (keys) =>
      // S3 does not say whether there was such a key.
      Effect.forEach(keys, (key) => tell("remove", { method: "DELETE", key }), {
        concurrency: deletesAtOnce,
        discard: true
      }),
    list: (prefix) => read("list", { method: "GET", query: { "list-type": "2", prefix } }, ["*", "Contents", "Key"]),
    ...(isDirect && { presign: (key, upload, part) => presign(bucket, key, upload, part) })
  }
}

/** One request to the bucket. */
interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE"
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Body
  /** Whether 404 is an answer, and no failure. */
  readonly missing?: boolean
}

const failure = (operation: string, problem: string): Effect.Effect<never, BlobError> =>
  Effect.fail(new BlobError({ operation, cause: new Error(problem) }))

const partQuery = (upload: string, part: number) => ({ partNumber: String(part), uploadId: upload })

const urlOf = (bucket: Bucket, { key, query = {} }: S3Request): URL => {
  const url = new URL(key === undefined ? bucket.url : `${bucket.url}/${key}`)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return url
}

/** Signs a request, in its headers or in its URL. */
const sign = (bucket: Bucket, request: S3Request, now: number, inUrl: boolean) => {
  const { region, accessKeyId, secretAccessKey } = bucket
  return new AwsV4Signer({
    service: "s3",
    region,
    accessKeyId,
    secretAccessKey,
    datetime: new Date(now).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    method: request.method,
    url: urlOf(bucket, request).href,
    headers: request.headers ?? {},
    signQuery: inUrl,
    allHeaders: inUrl
  }).sign()
}

/** What sends requests now. The bytes of a body are not signed: they are protected on their way by TLS. */
const senderOf = Effect.fnUntraced(function* (bucket: Bucket) {
  const fetch = yield* FetchHttpClient.Fetch
  const now = yield* Clock.currentTimeMillis
  return async (request: S3Request, signal: AbortSignal): Promise<Response> => {
    const { body, method, missing } = request
    const { headers, url } = await sign(bucket, request, now, false)
    const isStream = body instanceof ReadableStream
    const init = { method, headers, signal, ...(body !== undefined && { body }), ...(isStream && { duplex: "half" }) }
    const response = await fetch(url.href, init)
    if (response.ok || (missing && response.status === 404)) return response
    throw new Error(`S3 has answered ${response.status}: ${(await response.text()).slice(0, problemLength)}`)
  }
})

const sendTo = (bucket: Bucket, operation: string, request: S3Request) =>
  Effect.flatMap(senderOf(bucket), (send) => attempt(operation, (signal) => send(request, signal)))

/** Characters of an error's text that the log has. */
const problemLength = 500

/** Stores a body, and computes its hash on the way. */
const store = Effect.fnUntraced(function* (bucket: Bucket, request: S3Request, body: Body, bytes: number) {
  const send = yield* senderOf(bucket)
  return yield* attemptToStore(async (signal): Promise<Stored> => {
    const hashed = new HashedBody(body, bytes)
    const headers = { "content-length": String(bytes) }
    const response = await send({ ...request, headers, body: hashed.stream }, signal).catch((cause) => {
      throw hashed.isWrong ? new WrongSize({ expected: bytes }) : cause
    })
    await response.body?.cancel()
    return { etag: etagOf(response), bytes, checksum: await hashed.checksum() }
  })
})

const etagOf = ({ headers }: Response): string => {
  const etag = headers.get("etag")
  if (etag === null) throw new Error("S3 has not said what it stored")
  return etag
}

/** Seconds for which S3 lets a URL be valid. */
const maxSeconds = 604_800

/** A request that stores these bytes as a part. `x-amz-content-sha256` is signed: S3 refuses other bytes. */
const presign = (
  bucket: Bucket,
  key: string,
  upload: string,
  { bytes, checksum, expires, part }: PresignedPart
): Effect.Effect<PresignedPut, BlobError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    attempt("presign", async () => {
      const seconds = Math.min(maxSeconds, Math.max(1, Math.ceil((expires - now) / 1000)))
      const headers = { "x-amz-content-sha256": checksum }
      const query = { ...partQuery(upload, part), "X-Amz-Expires": String(seconds) }
      // Whoever sends a body adds its length.
      const signed = { ...headers, "content-length": String(bytes) }
      const { url } = await sign(bucket, { method: "PUT", key, query, headers: signed }, now, true)
      return { url: url.href, headers }
    })
  )
