/// <reference types="node" />

/**
 * Files in a plain Node program: rows in a SQLite file, bytes in a directory, and an HTTP server that takes uploads and answers
 * downloads. It sends itself a file, and reads it back.
 *
 *     npm run embed:files -- [directory]
 */
import { mkdirSync, readdirSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { Readable } from "node:stream"
import { fileURLToPath, URL } from "node:url"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Api, Table } from "effect-dormouse"
import { Bucket, FileServer, Files } from "effect-dormouse/files"
import { Uploads } from "effect-dormouse/files/client"
import { DirectoryBlobs } from "effect-dormouse/files/node"
import { Jobs } from "effect-dormouse/jobs"
import { Database, Transactor } from "effect-dormouse/storage"

const [directory = fileURLToPath(new URL("files", import.meta.url))] = process.argv.slice(2)

const Pictures = Bucket.make("pictures", { contentTypes: ["image/*"] })

class Card extends Model.Class<Card>("embed/Card")({
  id: Table.key(Schema.String),
  title: Schema.String,
  picture: Pictures.file
}) {}
const cards = Table.make("cards", Card, { key: "id" })

mkdirSync(directory, { recursive: true })

class NoApi extends Api.make() {}

const FilesLive = Jobs.layer({
  tables: [cards],
  api: NoApi,
  handlers: NoApi.toLayer({}),
  jobs: Jobs.make(),
  files: Files.make({ buckets: [Pictures] })
}).pipe(
  Layer.provide(Database.layerMemory({ path: join(directory, "rows.sqlite") })),
  Layer.provide(DirectoryBlobs.layer(directory))
)

/** Serves the URLs of files. Gives the server's own URL. */
const serve = Effect.gen(function* () {
  const { respond } = yield* FileServer
  const server = createServer(async (incoming, outgoing) => {
    const hasBody = incoming.method === "PUT" || incoming.method === "POST"
    const request = new Request(`http://localhost${incoming.url}`, {
      method: incoming.method ?? "GET",
      headers: Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]),
      ...(hasBody && { body: Readable.toWeb(incoming) as unknown as ReadableStream, duplex: "half" })
    })
    const { body, headers, status } = await respond(request)
    outgoing.writeHead(status, Object.fromEntries(headers))
    if (body === null) outgoing.end()
    else Readable.from(body).pipe(outgoing)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => server.close())
  )
  const address = server.address()
  return `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`
})

/** How many files the directory has. */
const storedFiles = Effect.try(() =>
  readdirSync(join(directory, "blobs"), { recursive: true, withFileTypes: true })
).pipe(
  Effect.map((entries) => entries.filter((entry) => entry.isFile()).length),
  // There is no such directory yet.
  Effect.orElseSucceed(() => 0)
)

const program = Effect.gen(function* () {
  const url = yield* serve
  const before = yield* storedFiles
  const { write } = yield* Transactor
  const picture = new Blob([new Uint8Array(20_000_000)])
  // One transaction: the row that names the file, and the upload.
  const upload = yield* write(
    Effect.gen(function* () {
      const upload = yield* Pictures.begin({ name: "dormouse.png", type: "image/png", bytes: picture.size })
      yield* cards.insert({ title: "asleep", picture: upload.file })
      return upload
    })
  )
  yield* Stream.runForEach(Uploads.send(upload, picture, { url }), ({ bytes, sent }) =>
    Console.log(`${Math.round((100 * sent) / bytes)} % is in ${directory}`)
  )
  const path = yield* Pictures.url(upload.file)
  const download = yield* Effect.promise(() => fetch(url + path).then((response) => response.arrayBuffer()))
  yield* Console.log(`${download.byteLength} bytes are read from ${path.replace(/\?.*/, "")}`)
  yield* write(Effect.flatMap(cards.query(), (all) => Effect.forEach(all, ({ id }) => cards.delete(id))))
  // After the commit: a transaction that is rolled back deletes nothing.
  yield* Effect.repeat(storedFiles, { until: (files) => files <= before, schedule: Schedule.spaced("50 millis") })
  yield* Console.log("the card is deleted, and the picture with it")
})

await program.pipe(Effect.scoped, Effect.provide(FilesLive), Effect.runPromise)
