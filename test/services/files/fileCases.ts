import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { callersOf, type Deployment, newTenant } from "../../deployment/Deployment.ts"
import { mebibyte } from "../../worker/files.ts"

/** Files of the app in `files.ts`, over each of the layers that store bytes. */

/** A deployment, and the bytes that it has stored. */
export interface FileDeployment extends Deployment {
  /** The keys under which bytes are stored, of those that begin so. */
  readonly keys: (prefix: string) => Promise<ReadonlyArray<string>>
  readonly close?: () => Promise<void>
}

const utf8 = new TextEncoder()
export const hexOf = (bytes: Uint8Array) => bytesToHex(sha256(bytes))
export const digestOf = (bytes: Uint8Array) => `sha-256=:${btoa(String.fromCharCode(...sha256(bytes)))}:`
/** Bytes that differ from part to part. */
export const bytesOf = (length: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 13)) & 255
  return bytes
}

export const suite = (name: string, here: () => Promise<FileDeployment>) =>
  describe(name, () => {
    let app: FileDeployment
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = (tenant = newTenant("files")) => {
      const { call, done } = callersOf(app, tenant)
      const begin = (bytes: number, options: Record<string, unknown> = {}, bucket = "attachments", subject?: string) =>
        done("begin", { bucket, new: { name: "a file.png", type: "image/png", bytes, ...options } }, subject)
      const put = (url: string, body: Uint8Array<ArrayBuffer>, part?: number, headers: Record<string, string> = {}) =>
        app.fetch(part === undefined ? url : `${url}&part=${part}`, { method: "PUT", body, headers })
      const upload = async (bytes: Uint8Array<ArrayBuffer>, options?: Record<string, unknown>, bucket?: string) => {
        const begun = await begin(bytes.length, options, bucket)
        const response = await put(begun.url, bytes)
        expect([response.status, await response.json()]).toEqual([200, { state: "ready", parts: [] }])
        return begun.file as string
      }
      const url = (file: string, options: Record<string, unknown> = {}, bucket = "attachments") =>
        done("url", { bucket, file, ...options })
      const get = (file: string, bucket = "attachments") => done("get", { bucket, file })
      return { tenant, call, done, begin, put, upload, url, get, keys: () => app.keys(`${tenant}/`) }
    }
    const bodyOf = async (response: Response) => new Uint8Array(await response.arrayBuffer())
    const statusOf = async (response: Promise<Response>) => {
      const { status } = await response
      return status
    }

    it("FI1: a file is ready once its bytes are there, and is read as it was sent", async () => {
      const { begin, get, put, tenant, url } = open()
      const bytes = bytesOf(100_000)
      const begun = await begin(bytes.length, { checksum: hexOf(bytes) })
      expect(begun.url.startsWith(`/files/${tenant}/${begun.file}?`)).toBe(true)
      expect(await get(begun.file)).toMatchObject({ state: "pending", checksum: null, owner: "ada" })
      const status = await app.fetch(begun.url)
      expect(await status.json()).toMatchObject({ state: "pending", parts: [] })
      const response = await put(begun.url, bytes, undefined, { "content-digest": digestOf(bytes) })
      expect(await response.json()).toEqual({ state: "ready", parts: [] })
      expect(await get(begun.file)).toMatchObject({ state: "ready", checksum: hexOf(bytes), bytes: bytes.length })
      const download = await app.fetch(await url(begun.file))
      expect(download.status).toBe(200)
      expect(hexOf(await bodyOf(download))).toBe(hexOf(bytes))
    })

    it("FI1: bytes of another size or checksum than was declared make no file", async () => {
      const { begin, get, keys, put } = open()
      const bytes = bytesOf(1000)
      const begun = await begin(1000, { checksum: hexOf(bytesOf(999)) })
      expect(await statusOf(put(begun.url, bytesOf(999)))).toBe(400)
      // Without a length it is seen only while it is read.
      expect([400, 413]).toContain(await statusOf(put(begun.url, bytesOf(1001))))
      expect(await statusOf(put(begun.url, bytes, undefined, { "content-digest": digestOf(bytesOf(999)) }))).toBe(400)
      expect(await statusOf(put(begun.url, bytes, undefined, { "content-digest": "md5=:AAAA:" }))).toBe(400)
      expect(await statusOf(put(begun.url, bytes))).toBe(422)
      expect(await get(begun.file)).toMatchObject({ state: "pending" })
      expect(await keys()).toEqual([])
      expect(await statusOf(put(begun.url, bytes, 2))).toBe(400)
      expect(await statusOf(put(begun.url, bytes, 0))).toBe(400)
    })

    it("FI1: a file in parts is ready when all parts are there, in any order, and has their checksum", async () => {
      const { begin, get, put, url } = open()
      const bytes = bytesOf(12 * mebibyte)
      const begun = await begin(bytes.length)
      const { partBytes } = begun
      const parts = [0, 1, 2].map((i) => bytes.slice(i * partBytes, (i + 1) * partBytes))
      expect(await (await put(begun.url, parts[2]!, 3)).json()).toEqual({ state: "pending", parts: [3] })
      expect(await statusOf(put(begun.url, parts[2]!, 2))).toBe(400)
      // Two requests that begin at the same time, and a part that is sent again.
      const both = await Promise.all([put(begun.url, parts[0]!, 1), put(begun.url, parts[0]!, 1)])
      expect(both.map(({ status }) => status)).toEqual([200, 200])
      expect(await (await app.fetch(begun.url)).json()).toMatchObject({ state: "pending", parts: [1, 3] })
      expect(await statusOf(app.fetch(begun.url, { method: "POST" }))).toBe(200)
      expect(await get(begun.file)).toMatchObject({ state: "pending" })
      expect(await (await put(begun.url, parts[1]!, 2)).json()).toEqual({ state: "ready", parts: [] })
      const digest = sha256.create()
      for (const part of parts) digest.update(sha256(part))
      expect(await get(begun.file)).toMatchObject({ state: "ready", checksum: bytesToHex(digest.digest()) })
      const response = await app.fetch(await url(begun.file))
      expect(hexOf(await bodyOf(response))).toBe(hexOf(bytes))
      expect(await statusOf(put(begun.url, parts[1]!, 2))).toBe(409)
    })

    it("FI1: parts that do not have the checksum that was declared are sent again", async () => {
      const { begin, get, put } = open()
      const [one, two, other] = [bytesOf(5 * mebibyte), bytesOf(10), new Uint8Array(10)]
      const checksum = hexOf(new Uint8Array([...sha256(one), ...sha256(two)]))
      const begun = await begin(one.length + two.length, { checksum })
      await put(begun.url, one, 1)
      expect(await statusOf(put(begun.url, other, 2))).toBe(422)
      expect(await (await app.fetch(begun.url)).json()).toMatchObject({ state: "pending", parts: [] })
      await put(begun.url, two, 2)
      expect(await (await put(begun.url, one, 1)).json()).toEqual({ state: "ready", parts: [] })
      expect(await get(begun.file)).toMatchObject({ state: "ready", checksum })
    })

    it("FI1: of two uploads to one target one makes the file, and nothing is left of the other", async () => {
      const { begin, get, keys, put, url } = open()
      const bodies = [bytesOf(50_000), new Uint8Array(50_000)]
      const begun = await begin(50_000)
      const responses = await Promise.all(bodies.map((body) => put(begun.url, body)))
      expect(responses.map(({ status }) => status).sort()).toEqual([200, 409])
      const winner = bodies[responses.findIndex(({ status }) => status === 200)]!
      expect(await get(begun.file)).toMatchObject({ checksum: hexOf(winner) })
      expect(hexOf(await bodyOf(await app.fetch(await url(begun.file))))).toBe(hexOf(winner))
      expect(await keys()).toHaveLength(1)
    })

    it("FI2: an upload that was rolled back has no row, and a deletion that was rolled back deletes nothing", async () => {
      const { call, keys, upload, url } = open()
      const file = { name: "a.png", type: "image/png", bytes: 3 }
      for (const how of ["fail", "die"]) {
        expect(await call("rolledBack", { new: file, how })).toMatchObject({ _tag: "Failure" })
      }
      const kept = await upload(bytesOf(10))
      expect(await call("kept", { bucket: "attachments", file: kept })).toMatchObject({ _tag: "Failure" })
      expect(await statusOf(app.fetch(await url(kept)))).toBe(200)
      expect(await keys()).toHaveLength(1)
    })

    it("FI2: the bytes of a file that is deleted go after the commit", async () => {
      const { begin, call, done, get, keys, put, upload } = open()
      const file = await upload(bytesOf(10))
      expect(await done("remove", { bucket: "avatars", file })).toBe(false)
      expect(await done("remove", { bucket: "attachments", file })).toBe(true)
      expect(await done("remove", { bucket: "attachments", file })).toBe(false)
      expect(await get(file)).toBe(null)
      expect(await call("url", { bucket: "attachments", file })).toMatchObject({ _tag: "Failure" })
      await expect.poll(keys).toEqual([])
      // An upload after its file was deleted.
      const begun = await begin(10)
      await done("remove", { bucket: "attachments", file: begun.file })
      expect(await statusOf(put(begun.url, bytesOf(10)))).toBe(404)
      expect(await keys()).toEqual([])
    })

    it("FI2: an upload that is given up leaves nothing", async () => {
      const { begin, get, keys, put } = open()
      const begun = await begin(12 * mebibyte)
      await put(begun.url, bytesOf(5 * mebibyte), 1)
      expect(await statusOf(app.fetch(begun.url, { method: "DELETE" }))).toBe(204)
      expect(await get(begun.file)).toBe(null)
      expect(await statusOf(put(begun.url, bytesOf(5 * mebibyte), 2))).toBe(404)
      expect(await keys()).toEqual([])
    })

    it("FI3: a URL is for one file, one use and some time, and ends when the file is deleted", async () => {
      const { begin, done, upload, url } = open()
      const file = await upload(bytesOf(10))
      const other = await upload(bytesOf(11))
      const path: string = await url(file)
      expect(await statusOf(app.fetch(path))).toBe(200)
      expect(await statusOf(app.fetch(path.replace(file, other)))).toBe(403)
      expect(await statusOf(app.fetch(path.replace(/expires=(\d+)/, (_, time) => `expires=${Number(time) + 1}`)))).toBe(
        403
      )
      expect(await statusOf(app.fetch(`${path}&disposition=attachment`))).toBe(403)
      expect(await statusOf(app.fetch(path.replace(/signature=./, "signature=!")))).toBe(403)
      expect(await statusOf(app.fetch(path.replace(/\?.*/, "")))).toBe(404)
      // The URL of an upload is none of a download, and the other way round.
      const begun = await begin(10)
      const query = (url: string) => url.replace(/^[^?]*/, "")
      expect(await statusOf(app.fetch(path.replace(/\?.*/, "") + query(begun.url)))).toBe(403)
      const back = begun.url.replace(/\?.*/, "") + query(path)
      expect(await statusOf(app.fetch(back, { method: "PUT", body: bytesOf(10) }))).toBe(403)
      const short: string = await url(file, { expires: 1 })
      await expect.poll(() => statusOf(app.fetch(short))).toBe(403)
      await done("remove", { bucket: "attachments", file })
      expect(await statusOf(app.fetch(path))).toBe(404)
    })

    it("FI3: a file of a public bucket has a URL without an end, which goes with the file", async () => {
      const { call, done, upload } = open()
      const file = await upload(bytesOf(10), { name: "me.png" }, "avatars")
      const path: string = await done("url", { bucket: "avatars", file })
      expect(path).not.toContain("signature")
      const response = await app.fetch(path)
      expect(response.headers.get("cache-control")).toMatch(/^public, /)
      expect(await statusOf(app.fetch(path.replace(file, "A".repeat(22))))).toBe(404)
      expect(await call("url", { bucket: "attachments", file })).toMatchObject({ _tag: "Failure" })
      await done("remove", { bucket: "avatars", file })
      expect(await statusOf(app.fetch(path))).toBe(404)
    })

    it("FI5: what a browser could run is saved, in a sandbox, and its type is not guessed", async () => {
      const { upload, url } = open()
      const html = new Uint8Array(utf8.encode("<script>alert(1)</script>"))
      const page = await app.fetch(await url(await upload(html, { name: "a.html", type: "text/html" })))
      expect(page.headers.get("content-disposition")).toMatch(/^attachment; /)
      expect(page.headers.get("content-security-policy")).toContain("sandbox")
      const image = await app.fetch(await url(await upload(bytesOf(3))))
      expect(image.headers.get("content-disposition")).toMatch(/^inline; /)
      const saved = await app.fetch(await url(await upload(bytesOf(3)), { disposition: "attachment" }))
      expect(saved.headers.get("content-disposition")).toMatch(/^attachment; /)
      for (const { headers } of [page, image, saved]) expect(headers.get("x-content-type-options")).toBe("nosniff")
      const svg = await app.fetch(await url(await upload(bytesOf(3), { type: "image/svg+xml" })))
      expect(svg.headers.get("content-disposition")).toMatch(/^attachment; /)
    })

    it("FI6: an upload goes on with the parts that are missing, also after an eviction between any two", async () => {
      const { begin, get, put, tenant } = open()
      const bytes = bytesOf(11 * mebibyte)
      const begun = await begin(bytes.length)
      for (const part of [1, 2, 3]) {
        await app.evict(tenant)
        const status: any = await (await app.fetch(begun.url)).json()
        expect(status.parts).toEqual([1, 2, 3].slice(0, part - 1))
        const body = bytes.slice((part - 1) * begun.partBytes, part * begun.partBytes)
        await app.evict(tenant)
        expect(await statusOf(put(begun.url, body, part))).toBe(200)
      }
      expect(await get(begun.file)).toMatchObject({ state: "ready" })
    })

    it("FI7: tenants and callers have quotas, of which a deleted file takes nothing", async () => {
      const { begin, call, done } = open()
      const file = (bytes: number) => ({ bucket: "attachments", new: { name: "a.png", type: "image/png", bytes } })
      const refused = async (bytes: number, subject?: string) => {
        const exit = await call("begin", file(bytes), subject)
        return exit._tag === "Failure" ? exit.cause[0].error.reason : undefined
      }
      const first = await begin(20 * mebibyte)
      await begin(20 * mebibyte)
      expect(await refused(1)).toBe("quota")
      await begin(20 * mebibyte, {}, "attachments", "bob")
      // The tenant has no more.
      expect(await refused(1, "bob")).toBe("quota")
      await done("remove", { bucket: "attachments", file: first.file })
      expect(await refused(1)).toBe(undefined)
    })

    it("FI8: a file that the bucket does not take is a typed error and has no row", async () => {
      const { call } = open()
      const good = { name: "a.png", type: "image/png", bytes: 3 }
      const refusal = async (change: Record<string, unknown>) => {
        const exit = await call("begin", { bucket: "attachments", new: { ...good, ...change } })
        return exit._tag === "Failure" ? exit.cause[0].error.reason : undefined
      }
      expect(await refusal({})).toBe(undefined)
      const names = [
        "",
        " ",
        "..",
        "a/b.png",
        "..\\a.png",
        "a\r\nset-cookie: a=b",
        "a\u0000",
        "é".repeat(200),
        "\ud800",
        "\u202egnp.exe"
      ]
      for (const name of names) expect([name, await refusal({ name })]).toEqual([name, "name"])
      const types = ["", "image", "video/mp4", "image/png\r\na: b", "image/png; x", "*/*", "a".repeat(200)]
      for (const type of types) expect([type, await refusal({ type })]).toEqual([type, "type"])
      for (const type of ["IMAGE/PNG", "text/plain; charset=utf-8", "image/svg+xml"]) {
        expect([type, await refusal({ type })]).toEqual([type, undefined])
      }
      for (const bytes of [-1, 20 * mebibyte + 1, 2 ** 53]) {
        expect([bytes, await refusal({ bytes })]).toEqual([bytes, bytes === 2 ** 53 ? expect.anything() : "bytes"])
      }
      expect(await refusal({ checksum: "0".repeat(63) })).toBe("checksum")
    })

    it("FI8: a name is shown as it is, whatever its characters", async () => {
      const { upload, url } = open()
      const name = `"quoted"; filename=x%41 ünïcode 文件 '(1)'.png`
      const response = await app.fetch(await url(await upload(bytesOf(3), { name })))
      const [, encoded] = /filename\*=UTF-8''([^;]*)$/.exec(response.headers.get("content-disposition")!) ?? []
      expect(decodeURIComponent(encoded!)).toBe(name)
    })

    it("FI8: a request that does not fit is refused and leaves nothing behind", async () => {
      const { begin, keys, tenant, upload, url } = open()
      const begun = await begin(10)
      const path: string = await url(await upload(bytesOf(10)))
      const status = (path: string, method = "GET") => statusOf(app.fetch(path, { method }))
      expect(await status(path, "DELETE")).toBe(405)
      expect(await status(begun.url, "PATCH")).toBe(405)
      expect(await status(`/files/${tenant}/no-file/a.png`)).toBe(404)
      expect(await status(`/files/${tenant}/${"A".repeat(22)}/a/b`)).toBe(404)
      expect(await status(`/files/${tenant}/..%2f..%2fetc/a.png`)).toBe(404)
      expect(await status(`/files/~tenants/${begun.file}/a.png`)).toBe(404)
      expect(await status(`/files/${"x".repeat(100)}/${begun.file}/a.png`)).toBe(404)
      expect(await status(`${path}&object=other`)).toBe(404)
      expect(await statusOf(app.fetch(`${begun.url}&part=x`, { method: "PUT", body: bytesOf(10) }))).toBe(400)
      expect(await statusOf(app.fetch(begun.url.replace(/expires=\d+/, "expires=never"), { method: "PUT" }))).toBe(403)
      expect(await keys()).toHaveLength(1)
    })

    it("FI9: downloads have ranges and preconditions", async () => {
      const { upload, url } = open()
      const bytes = bytesOf(1000)
      const path: string = await url(await upload(bytes))
      const get = (headers: Record<string, string>, method = "GET") => app.fetch(path, { headers, method })
      const whole = await get({})
      const etag = whole.headers.get("etag")!
      expect(whole.headers.get("accept-ranges")).toBe("bytes")
      const ranges: ReadonlyArray<[range: string, from: number, to: number]> = [
        ["bytes=0-0", 0, 1],
        ["bytes=10-19", 10, 20],
        ["bytes=990-", 990, 1000],
        ["bytes=-5", 995, 1000],
        ["bytes=990-5000", 990, 1000],
        ["bytes=-5000", 0, 1000]
      ]
      for (const [range, from, to] of ranges) {
        const response = await get({ range })
        expect([range, response.status, response.headers.get("content-range")]).toEqual([
          range,
          206,
          `bytes ${from}-${to - 1}/1000`
        ])
        expect(await bodyOf(response)).toEqual(bytes.slice(from, to))
      }
      for (const range of ["bytes=1000-", "bytes=5000-6000", "bytes=-0"]) {
        const response = await get({ range })
        expect([range, response.status, response.headers.get("content-range")]).toEqual([range, 416, "bytes */1000"])
      }
      for (const range of ["bytes=1-2,4-5", "bytes=5-2", "lines=1-2", "bytes=-"]) {
        expect([range, await statusOf(get({ range }))]).toEqual([range, 200])
      }
      expect(await statusOf(get({ "if-none-match": `"x", W/${etag}` }))).toBe(304)
      expect(await statusOf(get({ "if-none-match": '"x"' }))).toBe(200)
      expect(await statusOf(get({ "if-match": '"x"' }))).toBe(412)
      expect(await statusOf(get({ range: "bytes=0-0", "if-range": etag }))).toBe(206)
      expect(await statusOf(get({ range: "bytes=0-0", "if-range": '"x"' }))).toBe(200)
      const head = await get({}, "HEAD")
      expect([head.status, head.headers.get("content-length"), (await bodyOf(head)).length]).toEqual([200, "1000", 0])
    })

    it("FI10: an empty file is one", async () => {
      const { upload, url } = open()
      const response = await app.fetch(await url(await upload(new Uint8Array(0))))
      expect([response.status, (await bodyOf(response)).length]).toEqual([200, 0])
    })

    it("FI13: a file belongs to the rows that name it, and is deleted with the last of them", async () => {
      const { call, done, get, keys, upload, url } = open()
      const [first, second] = [await upload(bytesOf(10)), await upload(bytesOf(11))]
      const path: string = await url(first)
      const [one, two] = await done("attach", { file: first, count: 2, folder: "a" })
      await done("detach", { id: one, how: "delete" })
      expect(await statusOf(app.fetch(path))).toBe(200)
      // What is rolled back deletes nothing.
      expect(await call("detach", { id: two, how: "fail" })).toMatchObject({ _tag: "Failure" })
      expect(await statusOf(app.fetch(path))).toBe(200)
      await done("replace", { id: two, file: second })
      expect(await statusOf(app.fetch(path))).toBe(404)
      expect(await get(first)).toBe(null)
      await expect.poll(async () => (await keys()).length).toBe(1)
      await done("detach", { id: two, how: "null" })
      expect(await get(second)).toBe(null)
      // Rows of which a reference disposes.
      const third = await upload(bytesOf(12))
      await done("attach", { file: third, count: 3, folder: "b" })
      await done("removeFolder", { id: "b" })
      expect(await get(third)).toBe(null)
      await expect.poll(keys).toEqual([])
    })

    it("FI13: no row can name a file that is not there, or is in another bucket", async () => {
      const { call, done, upload } = open()
      const deleted = await upload(bytesOf(10))
      await done("remove", { bucket: "attachments", file: deleted })
      const other = await upload(bytesOf(10), {}, "avatars")
      for (const file of ["A".repeat(22), deleted, other]) {
        expect(await call("attach", { file, count: 1, folder: "a" })).toMatchObject({ _tag: "Failure" })
      }
    })

    it("FI11: an action begins, reads and deletes files, each at once", async () => {
      const { call } = open()
      const file = { name: "a.png", type: "image/png", bytes: 3 }
      const exit = await call("act", { new: file })
      expect(exit).toMatchObject({ _tag: "Success", value: { state: "pending", isRemoved: true } })
      const refused = await call("act", { new: { ...file, name: "" } })
      expect(refused).toMatchObject({ _tag: "Failure", cause: [{ error: { _tag: "FileRefused", reason: "name" } }] })
    })
  })
