/// <reference types="node" />
import { fileURLToPath, URL as NodeUrl } from "node:url"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Blobs } from "effect-dormouse/files"
import { S3Blobs } from "effect-dormouse/files/s3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { callersOf, newTenant } from "../../deployment/Deployment.ts"
import { memory } from "../../deployment/memory.ts"
import { type S3Server, startS3 } from "../../deployment/s3.ts"
import { WorkerdProcess } from "../../deployment/workerd.ts"
import { makeApp, options, small } from "../../worker/files.ts"
import { partsThatChange } from "./blobCases.ts"
import { bytesOf, digestOf, type FileDeployment, hexOf, suite } from "./fileCases.ts"

/** The app with files, and the server of S3 that stores their bytes. */
interface S3Deployment extends FileDeployment {
  readonly s3: S3Server
}

const inMemory = async (): Promise<S3Deployment> => {
  const s3 = await startS3()
  const app = await memory(makeApp(S3Blobs.layer(s3.options)), options)
  const close = async () => {
    await app.close()
    await s3.close()
  }
  return { ...app, s3, keys: s3.keys, close }
}

const inWorkerd = async (): Promise<S3Deployment> => {
  const s3 = await startS3()
  const entry = fileURLToPath(new NodeUrl("../../worker/process/files.ts", import.meta.url))
  const server = await WorkerdProcess.start(entry, s3.variables)
  // What is in memory is lost with the process.
  const evict = async () => {
    await server.kill()
    await server.start()
  }
  const close = async () => {
    await server.close()
    await s3.close()
  }
  return { ...server.deployment, evict, s3, keys: s3.keys, close }
}

suite("in memory, with S3", inMemory)
suite("in workerd, with S3", inWorkerd)

describe.each([
  ["in memory", inMemory],
  ["in workerd", inWorkerd]
] as const)("parts that clients send to the store, %s", (_name, start) => {
  let s3: S3Server
  let app: S3Deployment
  beforeAll(async () => {
    app = await start()
    s3 = app.s3
  })
  afterAll(() => app?.close?.())

  const opened = async (bytes = 2 * small, more: object = {}) => {
    const tenant = newTenant("files")
    const { done } = callersOf(app, tenant)
    const begin = () =>
      done("begin", { bucket: "small", new: { name: "a.txt", type: "text/plain", bytes, ...more } }) as Promise<any>
    const begun = await begin()
    const url = (parameters: string) => `${begun.url}&${parameters}`
    /** Asks where a part can be sent to, if it has these bytes. */
    const ask = (part: number, body: Uint8Array<ArrayBuffer>) =>
      app.fetch(url(`part=${part}`), { method: "POST", headers: { "content-digest": digestOf(body) } })
    const target = async (part: number, body: Uint8Array<ArrayBuffer>) => {
      const response = await ask(part, body)
      expect(response.status).toBe(200)
      return (await response.json()) as { readonly url: string; readonly headers: Record<string, string> }
    }
    const put = (
      to: { readonly url: string; readonly headers: Record<string, string> },
      body: Uint8Array<ArrayBuffer>
    ) => fetch(to.url, { method: "PUT", headers: to.headers, body })
    const note = (part: number, etag: string) =>
      app.fetch(url(`part=${part}&etag=${encodeURIComponent(etag)}`), { method: "POST" })
    /** Sends a part to the store, and says so. */
    const send = async (part: number, body: Uint8Array<ArrayBuffer>) => {
      const stored = await put(await target(part, body), body)
      expect(stored.status).toBe(200)
      return note(part, stored.headers.get("etag")!)
    }
    const status = async () => (await app.fetch(begun.url)).json()
    const get = () => done("get", { bucket: "small", file: begun.file })
    const download = async () => {
      const path: string = await done("url", { bucket: "small", file: begun.file })
      return new Uint8Array(await (await app.fetch(path)).arrayBuffer())
    }
    const keys = () => s3.keys(`${tenant}/`)
    return { ...{ ask, begun, done, download, get, keys, note, put, send, status, target, tenant, url } }
  }
  const [one, two, other] = [bytesOf(small), bytesOf(small).reverse(), new Uint8Array(small)]

  it("FI14: make a file that is ready with the checksums that were signed", async () => {
    const { download, get, send, status } = await opened()
    expect(await status()).toEqual({ state: "pending", parts: [], isDirect: true })
    expect(await (await send(2, two)).json()).toEqual({ state: "pending", parts: [2] })
    expect(await status()).toEqual({ state: "pending", parts: [2], isDirect: true })
    expect(await (await send(1, one)).json()).toEqual({ state: "ready", parts: [] })
    expect(await download()).toEqual(new Uint8Array([...one, ...two]))
    const parts = Uint8Array.from([one, two].flatMap((part) => [...Buffer.from(hexOf(part), "hex")]))
    expect(await get()).toMatchObject({ state: "ready", checksum: hexOf(parts) })
  })

  it("FI14: the store takes no other bytes, no other size, no other part and no other upload, and nothing later", async () => {
    const { put, send, target, note, status } = await opened()
    const signed = await target(1, one)
    const statusOf = async (to: typeof signed, body: Uint8Array<ArrayBuffer>) => (await put(to, body)).status
    expect(await statusOf(signed, other)).toBe(400)
    expect(await statusOf({ ...signed, headers: { "x-amz-content-sha256": hexOf(other) } }, other)).toBe(403)
    expect(await statusOf({ ...signed, headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } }, other)).toBe(403)
    expect(await statusOf({ ...signed, headers: {} }, other)).toBe(403)
    expect(await statusOf(signed, bytesOf(small + 1))).not.toBe(200)
    const changed = (name: string, value: string) => {
      const url = new URL(signed.url)
      url.searchParams.set(name, value)
      return statusOf({ ...signed, url: url.href }, one)
    }
    expect(await changed("partNumber", "2")).toBe(403)
    expect(await changed("X-Amz-Expires", "604800")).toBe(403)
    const elsewhere = await opened()
    const { searchParams } = new URL((await elsewhere.target(1, one)).url)
    expect(await changed("uploadId", searchParams.get("uploadId")!)).toBe(403)
    expect(await status()).toMatchObject({ parts: [] })
    // The control: as it was signed, it is taken.
    const stored = await put(signed, one)
    expect(stored.status).toBe(200)
    await note(1, stored.headers.get("etag")!)
    expect((await send(2, two)).status).toBe(200)
    expect(await statusOf(signed, one)).toBe(404)
  })

  it("FI14: a URL ends with its upload", async () => {
    const { begun, target } = await opened()
    const signed = new URL((await target(1, one)).url).searchParams
    const date = signed.get("X-Amz-Date")!.replace(/(....)(..)(..)T(..)(..)(..)Z/, "$1-$2-$3T$4:$5:$6Z")
    const end = Date.parse(date) + Number(signed.get("X-Amz-Expires")) * 1000
    // The bucket lets uploads take a minute. Dates of S3 have no milliseconds.
    expect(Math.abs(end - begun.expires)).toBeLessThanOrEqual(2000)
  })

  it("FI14: a part has the bytes that were signed first, or comes through the server", async () => {
    const { ask, begun, download, note, put, status, target, url } = await opened()
    const first = await target(1, one)
    expect((await ask(1, other)).status).toBe(409)
    expect((await put(first, one)).status).toBe(200)
    // Now nobody can tell which bytes will be there last: the store is not asked any more.
    expect((await app.fetch(url("part=1"), { method: "PUT", body: other })).status).toBe(200)
    expect((await ask(1, one)).status).toBe(409)
    expect((await note(1, '"x"')).status).toBe(200)
    expect(await status()).toMatchObject({ parts: [1] })
    expect((await note(2, '"x"')).status).toBe(409)
    expect((await app.fetch(url("part=2"), { method: "PUT", body: two })).status).toBe(200)
    expect(await download()).toEqual(new Uint8Array([...other, ...two]))
    expect((await ask(1, one)).status).toBe(409)
    expect((await note(1, '"x"')).status).toBe(409)
    expect(begun.url).not.toContain("uploadId")
  })

  it("FI14: a client that lies about what it has stored makes no file", async () => {
    const { ask, begun, get, note, target } = await opened()
    for (const [part, body] of [one, two].entries()) {
      await target(part + 1, body)
      const response = await note(part + 1, '"d41d8cd98f00b204e9800998ecf8427e"')
      expect(await response.json()).toEqual({ state: "pending", parts: part === 0 ? [1] : [] })
    }
    expect(await get()).toMatchObject({ state: "pending" })
    // The store is not asked any more.
    expect((await ask(1, one)).status).toBe(409)
    expect((await app.fetch(begun.url, { method: "DELETE" })).status).toBe(204)
  })

  it("FI14: parts that do not have the checksum that was declared are sent again, through the server", async () => {
    const parts = Uint8Array.from([one, two].flatMap((part) => [...Buffer.from(hexOf(part), "hex")]))
    const { ask, download, send, status, url } = await opened(2 * small, { checksum: hexOf(parts) })
    await send(1, one)
    expect((await send(2, other)).status).toBe(422)
    expect(await status()).toMatchObject({ state: "pending", parts: [] })
    expect((await ask(2, two)).status).toBe(409)
    for (const [part, body] of [one, two].entries())
      expect((await app.fetch(url(`part=${part + 1}`), { method: "PUT", body })).status).toBe(200)
    expect(await download()).toEqual(new Uint8Array([...one, ...two]))
  })

  it("FI14, FI8: nothing is left of an upload that was given up", async () => {
    const { begun, keys, put, send, target } = await opened()
    await send(1, one)
    const before = s3.uploads().length
    const signed = await target(2, two)
    expect((await app.fetch(begun.url, { method: "DELETE" })).status).toBe(204)
    await expect.poll(() => s3.uploads().length).toBe(before - 1)
    expect((await put(signed, two)).status).toBe(404)
    expect(await keys()).toEqual([])
  })

  it("FI8: requests that do not fit are refused, and write nothing", async () => {
    const { ask, begun, note, status, url } = await opened()
    const post = async (parameters: string, headers: Record<string, string> = {}) =>
      (await app.fetch(url(parameters), { method: "POST", headers })).status
    expect((await ask(3, one)).status).toBe(400)
    expect((await ask(0, one)).status).toBe(400)
    expect((await ask(1.5, one)).status).toBe(400)
    expect(await post("part=1")).toBe(400)
    expect(await post("part=1", { "content-digest": "sha-256=:short:" })).toBe(400)
    expect((await note(1, "")).status).toBe(400)
    expect((await note(1, "x".repeat(201))).status).toBe(400)
    expect((await note(1, '"x"')).status).toBe(409)
    const forged = `${begun.url.replace(/signature=[^&]*/, "signature=x")}&part=1`
    const headers = { "content-digest": digestOf(one) }
    expect((await app.fetch(forged, { method: "POST", headers })).status).toBe(403)
    // A file of one part goes through the server.
    const whole = await opened(small)
    expect((await whole.ask(1, one)).status).toBe(409)
    expect(await status()).toEqual({ state: "pending", parts: [], isDirect: true })
  })
})

it("FI14: only a store that signs requests is named to clients", async () => {
  const s3 = await startS3()
  const closed = await memory(makeApp(Blobs.layerMemory), options)
  const through = await memory(makeApp(S3Blobs.layer({ ...s3.options, isDirect: false })), options)
  for (const own of [closed, through]) {
    const { done } = callersOf(own, newTenant("files"))
    const file = { name: "a.txt", type: "text/plain", bytes: 2 * small }
    const begun: any = await done("begin", { bucket: "small", new: file })
    expect(await (await own.fetch(begun.url)).json()).toEqual({ state: "pending", parts: [] })
    const headers = { "content-digest": digestOf(bytesOf(small)) }
    expect((await own.fetch(`${begun.url}&part=1`, { method: "POST", headers })).status).toBe(409)
    await own.close()
  }
  await s3.close()
})

describe("a bucket of S3", () => {
  const withBlobs = async <A, E>(
    layerOf: (options: S3Server["options"]) => S3Blobs.S3Options,
    body: (blobs: Blobs.Blobs["Service"], s3: S3Server) => Effect.Effect<A, E>
  ): Promise<A> => {
    const s3 = await startS3()
    try {
      return await Effect.runPromise(
        Effect.flatMap(Blobs.Blobs, (blobs) => body(blobs, s3)).pipe(Effect.provide(S3Blobs.layer(layerOf(s3.options))))
      )
    } finally {
      await s3.close()
    }
  }
  const bodyOf = (bytes: Uint8Array<ArrayBuffer>): Blobs.Body => new Blob([bytes]).stream()

  it("FI14: refuses whoever has another secret, and the error does not have it", async () => {
    const secret = Redacted.make("another secret")
    const error = await withBlobs(
      (options) => ({ ...options, secretAccessKey: secret }),
      ({ put }) => Effect.flip(put("a", bodyOf(bytesOf(3)), 3))
    )
    expect(error).toBeInstanceOf(Blobs.BlobError)
    const text = String((error as Blobs.BlobError).cause)
    expect(text).toContain("SignatureDoesNotMatch")
    expect(text).not.toContain("another secret")
  })

  it("tells a body of another size from a store that fails", () =>
    withBlobs(
      (options) => options,
      (blobs, s3) =>
        Effect.gen(function* () {
          for (const length of [2, 4]) {
            const error = yield* Effect.flip(blobs.put("a", bodyOf(bytesOf(length)), 3))
            expect(error).toBeInstanceOf(Blobs.WrongSize)
          }
          s3.refuse = () => 503
          expect(yield* Effect.flip(blobs.put("a", bodyOf(bytesOf(3)), 3))).toBeInstanceOf(Blobs.BlobError)
          expect(yield* Effect.flip(blobs.size("a"))).toBeInstanceOf(Blobs.BlobError)
          s3.refuse = () => undefined
          expect(yield* blobs.size("a")).toBe(undefined)
          expect(yield* blobs.get("a", { offset: 0, length: 1 })).toBe(undefined)
          const stored = yield* blobs.put("a", bodyOf(bytesOf(3)), 3)
          expect(stored).toMatchObject({ bytes: 3, checksum: hexOf(bytesOf(3)) })
          expect(yield* blobs.size("a")).toBe(3)
        })
    ))

  it("FI6: parts that are stored again", () =>
    withBlobs(
      (options) => options,
      (blobs) => Effect.provideService(partsThatChange(), Blobs.Blobs, blobs)
    ))

  it("has keys with any characters of a tenant's name, and deletes what is there", () =>
    withBlobs(
      (options) => options,
      (blobs) =>
        Effect.gen(function* () {
          const keys = ["a-b.c_d/f/1", "a-b.c_d/f/2", "z/f/1"]
          for (const key of keys) yield* blobs.put(key, bodyOf(bytesOf(1)), 1)
          expect([...(yield* blobs.list("a-b.c_d/"))].sort()).toEqual(keys.slice(0, 2))
          yield* blobs.remove([...keys.slice(0, 2), "never"])
          expect(yield* blobs.list("a-b.c_d/")).toEqual([])
          expect(yield* blobs.list("z/")).toEqual(["z/f/1"])
        })
    ))
})
