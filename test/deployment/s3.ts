/// <reference types="node" />
import { createHash } from "node:crypto"
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import S3rver from "@20minutes/s3rver"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Blobs } from "effect-dormouse/files"
import { S3Blobs } from "effect-dormouse/files/s3"

/**
 * A server of S3: `s3rver`, which verifies signatures, behind what S3 does and it leaves out. Without a signature nothing is allowed. A
 * body must have the SHA-256 that is signed for it. Uploads end, are complete only with the etags of their parts, and can be aborted.
 */
export interface S3Server {
  readonly options: Pick<S3Blobs.S3Options, "endpoint" | "bucket" | "accessKeyId" | "secretAccessKey">
  /** The same for a Worker, as `process/files.ts` reads them. */
  readonly variables: Readonly<Record<string, string>>
  /** Methods and the names of parameters that have arrived. */
  readonly requests: Array<string>
  /** The status that answers a request instead, if it returns one. */
  refuse: (request: IncomingMessage) => number | undefined
  /** The keys that begin so. */
  readonly keys: (prefix: string) => Promise<ReadonlyArray<string>>
  /** Uploads in parts that are not complete. */
  readonly uploads: () => ReadonlyArray<string>
  readonly close: () => Promise<void>
}

/** Pages of any origin may send parts, and read what was stored. */
const rules =
  "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>" +
  "<AllowedHeader>x-amz-content-sha256</AllowedHeader><ExposeHeader>etag</ExposeHeader></CORSRule></CORSConfiguration>"

const bucket = "files"
/** What s3rver has. */
const account = "S3RVER"

const problem = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`

/** Starts a server. Without `cors` no page may use it. */
export const startS3 = async ({ cors = true } = {}): Promise<S3Server> => {
  const directory = mkdtempSync(join(tmpdir(), "dormouse-s3-"))
  const store = new S3rver({
    address: "127.0.0.1",
    port: 0,
    silent: true,
    directory,
    vhostBuckets: false,
    configureBuckets: [{ name: bucket, configs: cors ? [rules] : [] }]
  })
  const { port } = await store.run()
  const uploads = join(directory, bucket, "._S3rver_uploads")
  const etags = new Map<string, string>()
  const requests: Array<string> = []

  /** Answers a request, and waits until s3rver has read or written what it asks for. */
  const answerTo = async (incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer) => {
    const { method = "GET", url = "" } = incoming
    const { searchParams } = new URL(url, "http://s3")
    const answer = (status: number, text = "") => void outgoing.writeHead(status).end(text)
    const isSigned = "authorization" in incoming.headers || searchParams.has("X-Amz-Signature")
    if (!isSigned && method !== "OPTIONS") return answer(403, problem("AccessDenied"))
    const declared = String(incoming.headers["x-amz-content-sha256"] ?? "UNSIGNED-PAYLOAD")
    const actual = createHash("sha256").update(body).digest("hex")
    if (/^[0-9a-f]{64}$/.test(declared) && declared !== actual) return answer(400, problem("XAmzContentSHA256Mismatch"))
    const upload = searchParams.get("uploadId")
    if (upload !== null && !existsSync(join(uploads, upload))) return answer(404, problem("NoSuchUpload"))
    if (method === "POST" && upload !== null) {
      for (const [, part, etag] of String(body).matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag>/g)) {
        const known = etags.get(`${upload} ${part}`)
        if (known !== etag?.replaceAll("&quot;", '"')) return answer(400, problem("InvalidPart"))
      }
    }
    const forwarded = request({ host: "127.0.0.1", port, method, path: url, headers: incoming.headers })
    forwarded.on("error", () => outgoing.destroy())
    forwarded.end(body)
    const [response]: Array<IncomingMessage> = await once(forwarded, "response").catch(() => [])
    if (response === undefined) return
    const { statusCode = 500, headers } = response
    if (method === "DELETE" && upload !== null && statusCode === 405) {
      // The signature was right.
      response.resume()
      rmSync(join(uploads, upload), { recursive: true, force: true })
      return answer(204)
    }
    if (method === "PUT" && upload !== null && statusCode === 200)
      etags.set(`${upload} ${searchParams.get("partNumber")}`, String(headers["etag"]))
    if (incoming.headers.range === "bytes=0-0" && statusCode < 300) {
      // s3rver sends all bytes.
      response.once("data", (chunk: Buffer) => outgoing.writeHead(206).end(chunk.subarray(0, 1)))
      return
    }
    outgoing.writeHead(statusCode, headers)
    response.pipe(outgoing)
  }

  // s3rver fails when a directory that it looks into is removed by another request: a deletion removes the empty ones.
  let turn: Promise<void> = Promise.resolve()
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Array<Buffer> = []
    try {
      for await (const chunk of incoming) chunks.push(chunk)
    } catch {
      return
    }
    const { method = "GET", url = "" } = incoming
    const names = [...new URL(url, "http://s3").searchParams.keys()].filter((name) => !name.startsWith("X-Amz-"))
    requests.push([method, ...names].join(" "))
    const refused = made.refuse(incoming)
    if (refused !== undefined) outgoing.writeHead(refused).end()
    else turn = turn.then(() => answerTo(incoming, outgoing, Buffer.concat(chunks)))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address() as { readonly port: number }
  const options = {
    endpoint: `http://127.0.0.1:${address.port}`,
    bucket,
    accessKeyId: account,
    secretAccessKey: Redacted.make(account)
  }
  const listing: Layer.Layer<Blobs.Blobs> = S3Blobs.layer(options)
  const made: S3Server = {
    options,
    variables: {
      S3_ENDPOINT: options.endpoint,
      S3_BUCKET: bucket,
      S3_ACCESS_KEY_ID: account,
      S3_SECRET_ACCESS_KEY: account
    },
    requests,
    refuse: () => undefined,
    keys: (prefix) =>
      Effect.runPromise(Effect.flatMap(Blobs.Blobs, ({ list }) => list(prefix)).pipe(Effect.provide(listing))),
    uploads: () => {
      try {
        return readdirSync(uploads)
      } catch {
        return []
      }
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    }
  }
  return made
}
