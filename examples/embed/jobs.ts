/// <reference types="node" />

/**
 * Jobs and a queue in a plain Node program, over a SQLite file: a reminder of each note, and a word count that a queue makes.
 * Kill the program while it waits, and start it again: nothing that was promised is lost.
 *
 *     npm run embed:jobs -- [file]
 */
import { fileURLToPath, URL } from "node:url"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Api, Mutation } from "effect-dormouse"
import { Jobs, Queue, Scheduler } from "effect-dormouse/jobs"
import { Database, Transactor } from "effect-dormouse/storage"
import { notes } from "./schema.ts"

const [path = fileURLToPath(new URL("jobs.sqlite", import.meta.url))] = process.argv.slice(2)

class NotesApi extends Api.make(Mutation.make("remind", { payload: { id: Schema.String } })) {}

const Counts = Queue.make("counts", { payload: { text: Schema.String } })

const handlers = NotesApi.toLayer({
  remind: ({ id }) => Effect.flatMap(notes.get(id), ({ text }) => Console.log(`reminder: ${text}`)).pipe(Effect.orDie)
})
const CountsLive = Counts.toLayer(({ text }) => Console.log(`${text.split(" ").length} words: ${text}`))

const JobsLive = Jobs.layer({
  tables: [notes],
  api: NotesApi,
  handlers,
  jobs: Jobs.make({ queues: [CountsLive] })
}).pipe(Layer.provide(Database.layerMemory({ path })))

const program = Effect.gen(function* () {
  const { write } = yield* Transactor
  // One transaction: the note, its reminder and the message are there together, or none of them.
  yield* write(
    Effect.gen(function* () {
      const { id } = yield* notes.insert({ text: "sleep until April" })
      yield* Scheduler.after("2 seconds", NotesApi, "remind", { id })
      yield* Counts.send({ text: "sleep until April" })
    })
  )
  yield* Console.log(`a note, its reminder and its count are in ${path}`)
  yield* Effect.sleep("3 seconds")
})

await program.pipe(Effect.provide(JobsLive), Effect.runPromise)
