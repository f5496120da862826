/// <reference types="node" />

/**
 * Storage in a plain Node program: notes in a SQLite file, and a live list of the newest. `npm run embed` runs it; the notes
 * of earlier runs are still there.
 *
 *     npm run embed -- [file]
 */
import { fileURLToPath, URL } from "node:url"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Database, Storage, Transactor } from "effect-dormouse/storage"
import { notes } from "./schema.ts"

const [path = fileURLToPath(new URL("notes.sqlite", import.meta.url))] = process.argv.slice(2)

const NotesLive = Storage.layer({ tables: [notes] }).pipe(Layer.provide(Database.layerMemory({ path })))

const program = Effect.gen(function* () {
  const { live, read, write } = yield* Transactor
  yield* Console.log(`${yield* read(notes.query().count)} notes in ${path}`)

  // The three newest notes: now, and again after each commit that changes them.
  yield* live(notes.query("byTime").descending.take(3)).pipe(
    Stream.map((newest) => newest.map(({ text }) => text)),
    Stream.tap((newest) => Console.log(newest)),
    Stream.zipWithIndex,
    Stream.tap(([, index]) => (index === 0 ? write(notes.insert({ text: "sleep until April" })) : Effect.void)),
    Stream.take(2),
    Stream.runDrain
  )
})

await program.pipe(Effect.provide(NotesLive), Effect.runPromise)
