import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Blobs } from "effect-dormouse/files"
import { afterEach, describe, expect, it, vi } from "vitest"
import { TransactionFiles } from "../../../src/services/files/TransactionFiles.ts"
import { memory, turns } from "../../deployment/memory.ts"
import { sixthOf, Violation } from "../../random.ts"
import { makeApp, options, small } from "../../worker/files.ts"
import { type Moments, watchCommits } from "../jobs/crashes.ts"
import { bytesOf } from "./fileCases.ts"

/** Uploads and deletions, repeated with a crash at each commit and a failure at each operation of what stores bytes. */

/** Where a run is cut. */
type Point =
  | { readonly at: "before commit" | "after commit"; readonly number: number }
  | { readonly at: "before blob" | "after blob"; readonly number: number }

const hour = 3_600_000

/** What fails at one of its operations, before or after it was done. */
const failingAt = (blobs: Blobs.MemoryBlobs, count: () => number, point: Point | undefined): Layer.Layer<Blobs.Blobs> =>
  Layer.effect(
    Blobs.Blobs,
    Effect.gen(function* () {
      const store = yield* Blobs.Blobs
      const failure = Effect.fail(new Blobs.BlobError({ operation: "cut", cause: new Error("cut by the test") }))
      const cut =
        (operation: any) =>
        (...given: ReadonlyArray<unknown>) =>
          Effect.suspend(() => {
            const number = count()
            if (point?.number !== number) return operation(...given)
            if (point.at === "before blob") return failure
            return point.at === "after blob" ? Effect.andThen(operation(...given), failure) : operation(...given)
          })
      return Object.fromEntries(Object.entries(store).map(([name, operation]) => [name, cut(operation)])) as never
    })
  ).pipe(Layer.provide(blobs.layer))

/** Runs the script with a cut, and checks what it leaves. Returns how many moments it had. */
const runWith = async (point?: Point): Promise<{ readonly commits: number; readonly operations: number }> => {
  const blobs = new Blobs.MemoryBlobs()
  let operations = 0
  const app = await memory(makeApp(failingAt(blobs, () => ++operations, point)), options, TestClock.layer())
  const tenant = "files-crash"
  const object = app.object(tenant)
  const moments: Moments = { commits: 0, begins: 0, ends: 0 }
  const commit =
    point?.at === "before commit" || point?.at === "after commit" ? { at: point.at, number: point.number } : undefined
  watchCommits(object, commit, moments, () => void object.crash())
  const call = async (tag: string, payload: unknown): Promise<any> => {
    const body = JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
    const headers = { "content-type": "application/json", "x-dormouse-tenant": tenant }
    for (let i = 0; i < 2; i++) {
      const response = await app.fetch("/rpc", { method: "POST", headers, body })
      const messages: ReadonlyArray<any> = response.ok ? await response.json() : []
      const exit = messages.find(({ _tag }) => _tag === "Exit")?.exit
      if (exit?._tag === "Success") return exit.value
    }
    throw new Violation(`${tag} had no answer`)
  }
  const put = (url: string, body: Uint8Array<ArrayBuffer>, part = 1) =>
    app.fetch(`${url}&part=${part}`, { method: "PUT", body }).then(({ status }) => status)
  const begin = (bytes: number) => call("begin", { bucket: "small", new: { name: "a.txt", type: "text/plain", bytes } })
  /** Sends what is missing of a file, as a client does, until it is ready. */
  const send = async (url: string, bytes: number) => {
    const body = bytesOf(bytes)
    for (let i = 0; i < 4; i++) {
      const response = await app.fetch(url)
      const status: any = response.ok ? await response.json() : { parts: [] }
      if (status.state === "ready") return
      for (let part = 1; (part - 1) * small < bytes; part++) {
        if (!status.parts.includes(part)) await put(url, body.slice((part - 1) * small, part * small), part)
      }
      await app.fetch(url, { method: "POST" })
    }
    throw new Violation("a file did not become ready")
  }
  const pass = async (millis: number) => {
    await app.run(TestClock.adjust(millis))
    await turns()
  }
  try {
    const one = await begin(5)
    await send(one.url, 5)
    const two = await begin(25)
    await send(two.url, 25)
    const three = await begin(5)
    await send(three.url, 5)
    await call("remove", { bucket: "small", file: three.file })
    const four = await begin(25)
    await put(four.url, bytesOf(25).slice(0, small), 1)
    const five = await begin(5)
    await Promise.all([put(five.url, bytesOf(5)), put(five.url, new Uint8Array(5))])
    await begin(7)
    await pass(1000)
    await call("remove", { bucket: "small", file: two.file })
    for (let i = 0; i < 6; i++) await pass(hour / 2)
    // A deletion that failed is begun again after a day.
    for (let i = 0; i < 8; i++) await pass(8 * hour)
    check(object.database, blobs, [one.file, five.file])
    return { commits: moments.commits, operations }
  } finally {
    await app.close()
  }
}

/** Rows and bytes say the same: the files that are ready, and nothing else. */
const check = (
  database: { readonly prepare: (sql: string) => { readonly all: () => ReadonlyArray<any> } },
  blobs: Blobs.MemoryBlobs,
  mayBeReady: ReadonlyArray<string>
): void => {
  const rows = (sql: string) => database.prepare(sql).all()
  const files = rows("SELECT id, state, bytes, key FROM _dormouse_files ORDER BY key")
  const fail = (problem: string) => {
    throw new Violation(`${problem}: ${JSON.stringify(files)} ${JSON.stringify([...blobs.stored.keys()])}`)
  }
  for (const { bytes, id, key, state } of files) {
    if (state !== "ready") fail("a row was not swept")
    if (!mayBeReady.includes(id)) fail("a file is ready that was deleted or not sent")
    if (blobs.stored.get(key)?.length !== bytes) fail("a file is ready without its bytes")
  }
  if (!files.some(({ id }) => id === mayBeReady[0])) fail("a file is missing")
  const keys = files.map(({ key }) => key)
  if (JSON.stringify([...blobs.stored.keys()].sort()) !== JSON.stringify([...keys].sort())) fail("bytes without a row")
  // What was begun and has no bytes is left to what stores them.
  if ([...blobs.uploads.values()].some((parts) => parts.size > 0)) fail("parts without a row")
  const named = rows("SELECT key FROM _dormouse_file_blobs ORDER BY key").map(({ key }) => key)
  if (JSON.stringify(named) !== JSON.stringify([...keys].sort())) fail("keys without a file")
  const sum = files.reduce((sum, { bytes }) => sum + bytes, 0)
  if (rows("SELECT bytes FROM _dormouse_file_usage WHERE owner = '*'")[0]?.bytes !== sum) fail("the quota is wrong")
}

const runWithEach = async (some = (points: ReadonlyArray<Point>) => points): Promise<number> => {
  const { commits, operations } = await runWith()
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
  const points: ReadonlyArray<Point> = [
    ...numbers(operations).flatMap(
      (number): Array<Point> => [
        { at: "before blob", number },
        { at: "after blob", number }
      ]
    ),
    ...numbers(commits).flatMap(
      (number): Array<Point> => [
        { at: "before commit", number },
        { at: "after commit", number }
      ]
    )
  ]
  for (const point of some(points)) {
    try {
      await runWith(point)
    } catch (cause) {
      if (!(cause instanceof Violation)) throw cause
      throw new Violation(`cut at ${JSON.stringify(point)}: ${cause.message}`)
    }
  }
  return points.length
}

afterEach(() => vi.restoreAllMocks())

describe("a crash between bytes and rows", () => {
  it("FI2: leaves neither bytes without a row nor a file without bytes, wherever it comes", async () => {
    expect(await runWithEach(sixthOf)).toBeGreaterThan(70)
  })
})

describe("control: the crashes detect", () => {
  const finds = (what: RegExp) => expect(runWithEach()).rejects.toThrow(what)

  const files: any = TransactionFiles.prototype

  it("FI2: uploads that nothing sweeps", async () => {
    vi.spyOn(files, "sweep").mockImplementation(function (this: any) {
      this.tx.query("UPDATE _dormouse_files SET ends = NULL WHERE ends <= ?", [this.tx.now])
    })
    await finds(/a row was not swept/)
  })

  it("FI2: keys that are in no row before bytes are stored under them", async () => {
    const { blobsOf } = files
    // As if the row of a key were written only when its bytes are those of the file.
    vi.spyOn(files, "blobsOf").mockImplementation(function (this: any, file) {
      const [row] = this.tx.query("SELECT key FROM _dormouse_files WHERE id = ?", [file])
      const isWhole = this.tx.query("SELECT 1 FROM _dormouse_files WHERE id = ? AND bytes <= 10", [file]).length > 0
      return blobsOf.call(this, file).filter(({ key }: any) => !isWhole || row?.[0] === null || key === row?.[0])
    })
    await finds(/without a (row|file)/)
  })
})
