/**
 * What a persisted queue costs: adding and processing an element by `PersistedQueues`, by its store alone, by Effect's queue
 * over Effect's own memory store, which runs no SQL, and by hand-written SQL with one transaction each. In one process, over
 * SQLite in memory; interleaved rounds, medians of elements per second and their ratio to the hand-written SQL. Then the same in an object, in workerd.
 */
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Schema from "effect/Schema"
import { Database, PersistedQueues } from "effect-dormouse/storage"
import * as MemoryDatabase from "../src/layers/memory/Database.ts"
import { WorkerdProcess } from "../test/deployment/workerd.ts"

const Mail = Schema.Struct({ to: Schema.String, subject: Schema.String, n: Schema.Int })
const mail = (n: number): typeof Mail.Type => ({ to: "ada@example.com", subject: `message ${n}`, n })

const open = () => MemoryDatabase.make(new DatabaseSync(":memory:", { enableForeignKeyConstraints: true }))

const handwritten = () => {
  const database = open()
  database.all(
    "CREATE TABLE queue (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, element TEXT NOT NULL, due INTEGER NOT NULL); " +
      "CREATE INDEX queue_by_due ON queue (name, due)",
    []
  )
  let processed = 0
  return (rounds: number) => {
    for (let i = 0; i < rounds; i++) {
      database.transaction(() =>
        database.run("INSERT INTO queue (name, element, due) VALUES (?, ?, ?)", [
          "mail",
          JSON.stringify(mail(i)),
          Date.now()
        ])
      )
      database.transaction(() => {
        const [row] = database.all(
          "SELECT sequence, element FROM queue WHERE name = ? AND due <= ? ORDER BY due, sequence LIMIT 1",
          ["mail", Date.now()]
        ).rows
        processed += JSON.parse(String(row![1])).n
        database.run("DELETE FROM queue WHERE sequence = ?", [row![0]!])
      })
    }
    return Promise.resolve(processed)
  }
}

const round = 2000
const rounds = 15
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const queueOver = (layer: Layer.Layer<PersistedQueue.PersistedQueueStore>) =>
  Effect.gen(function* () {
    const queue = yield* PersistedQueues.make({ name: "mail", schema: Mail })
    let _processed = 0
    const process = queue.take((item) =>
      Effect.sync(() => {
        _processed += item.n
      })
    )
    return Effect.gen(function* () {
      for (let i = 0; i < round; i++) {
        yield* queue.offer(mail(i))
        yield* process
      }
    })
  }).pipe(Effect.provide(Layer.provide(PersistedQueue.layer, layer)))

const storeAlone = Effect.map(PersistedQueue.PersistedQueueStore, (store) => {
  let id = 0
  const retryDelay = () => Effect.succeed(Duration.zero)
  const process = Effect.scoped(store.take({ name: "mail", maxAttempts: 10, retryDelay }))
  return Effect.gen(function* () {
    for (let i = 0; i < round; i++) {
      yield* store.offer({ name: "mail", id: `message ${id++}`, element: mail(i), isCustomId: false })
      yield* process
    }
  })
})

const ours = () => Layer.provide(PersistedQueues.layerStore(), Layer.succeed(Database.Database, open()))

const program = Effect.gen(function* () {
  const scope = yield* Effect.scope
  const store = yield* Layer.buildWithScope(ours(), scope)
  const another = yield* Layer.buildWithScope(Layer.fresh(ours()), scope)
  const sql = handwritten()
  const subjects = {
    "hand-written SQL": Effect.promise(() => sql(round)),
    PersistedQueues: yield* queueOver(Layer.succeedContext(store)),
    "its store alone": yield* Effect.provideContext(storeAlone, another),
    "Effect's queue without SQL": yield* queueOver(PersistedQueue.layerStoreMemory)
  }
  const names = Object.keys(subjects)
  const rates = new Map<string, Array<number>>(names.map((name) => [name, []]))
  for (let i = 0; i < rounds + 3; i++) {
    for (const [name, effect] of Object.entries(subjects)) {
      const started = performance.now()
      yield* effect
      // The first rounds are for the compiler.
      if (i >= 3) rates.get(name)!.push((round / (performance.now() - started)) * 1000)
    }
  }
  const byHand = median(rates.get("hand-written SQL")!)
  for (const [name, measured] of rates) {
    const rate = median(measured)
    console.info(`${name}: ${rate.toFixed(0)}/s, ratio ${(rate / byHand).toFixed(2)}`)
  }
})

await Effect.runPromise(Effect.scoped(program))

/** The same in an object, in workerd. */
const workerd = await WorkerdProcess.start(fileURLToPath(new URL("persistedQueueObject.ts", import.meta.url).href))
for (const count of [1, 100]) {
  const taken: Record<string, Array<number>> = { hand: [], ours: [] }
  for (let i = 0; i < (count === 1 ? 400 : 60); i++) {
    for (const [name, times] of Object.entries(taken)) {
      const started = performance.now()
      const response = await fetch(`${workerd.url}/${name}?count=${count}`)
      if (Number(await response.text()) !== (count * (count - 1)) / 2)
        throw new Error(`${name} failed: ${response.status}`)
      // The first rounds are for the compiler.
      if (i >= 10) times.push(performance.now() - started)
    }
  }
  const [hand, own] = [median(taken["hand"]!), median(taken["ours"]!)]
  const each = (millis: number) => ((millis * 1000) / count).toFixed(0)
  console.info(
    `in workerd, ${count} a request: by hand ${each(hand)} µs, ${each(own)} µs, ratio ${(hand / own).toFixed(2)}`
  )
}
await workerd.close()
