import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Base64 from "effect/encoding/Base64"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Persistable from "effect/persistence/Persistable"
import * as PersistedCache from "effect/persistence/PersistedCache"
import * as Persistence from "effect/persistence/Persistence"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database, KeyValues, Storage, Table, Transactor } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import { forAllAsync, type Random, Violation } from "../../random.ts"
import type { RunWithDatabase } from "./persistedQueueCases.ts"

const storage = Storage.layer({ tables: [], transactional: [KeyValues.transactional] })

type Store = KeyValueStore.KeyValueStore

/** A store that runs each operation in a transaction of its own. */
const inTransactions = Layer.effect(
  KeyValueStore.KeyValueStore,
  Effect.gen(function* () {
    const { read, write } = yield* Transactor
    const outside = yield* KeyValueStore.KeyValueStore
    const outer = Effect.provideService(KeyValueStore.KeyValueStore, outside)
    const reading = <A, E>(use: (store: Store) => Effect.Effect<A, E>) =>
      outer(read(Effect.flatMap(KeyValueStore.KeyValueStore, use)))
    const writing = <A, E>(use: (store: Store) => Effect.Effect<A, E>) =>
      outer(write(Effect.flatMap(KeyValueStore.KeyValueStore, use)))
    return KeyValueStore.make({
      get: (key) => reading((store) => store.get(key)),
      getUint8Array: (key) => reading((store) => store.getUint8Array(key)),
      set: (key, value) => writing((store) => store.set(key, value)),
      remove: (key) => writing((store) => store.remove(key)),
      clear: writing((store) => store.clear),
      clearPrefix: (prefix) => writing((store) => store.clearPrefix(prefix)),
      size: reading((store) => store.size),
      keys: reading((store) => store.keys),
      modify: (key, f) => writing((store) => store.modify(key, f)),
      modifyUint8Array: (key, f) => writing((store) => store.modifyUint8Array(key, f))
    })
  })
).pipe(Layer.provide(storage))

const layers = {
  "Effect's own store": KeyValueStore.layerMemory,
  "the rows of a database": KeyValues.layer,
  "the rows of a tenant, in transactions": inTransactions
}

const backings = {
  "Effect's own store": Persistence.layerBackingMemory,
  "the rows of a database": KeyValues.layerBacking
}

const texts = ["", "value", "Zm9v", "héllo 👋", "a\0b", "1"]
const keys = ["", "a", "a/1", "a/2", "a/\ud7ff", "a/\uffff", "a/\u{10ffff}", "a0", "b", "A", "%", "_", "👋", "a\0b"]

/** One random operation, for all stores. */
const operation = (random: Random): ((store: Store) => Effect.Effect<unknown, unknown>) => {
  const key = random.pick(keys)
  const bytes = new Uint8Array(random.array(random.int(4), () => random.int(256)))
  const value = random.chance(0.3) ? bytes : random.pick(texts)
  const prefix = random.chance(0.9) ? key : ""
  return random.pick([
    (store: Store) => store.get(key),
    (store: Store) => store.get(key),
    (store: Store) => Effect.map(store.getUint8Array(key), (found) => found && Base64.encode(found)),
    (store: Store) => store.has(key),
    (store: Store) => Effect.map(store.set(key, value), () => undefined),
    (store: Store) => Effect.map(store.set(key, value), () => undefined),
    (store: Store) => Effect.map(store.set(key, value), () => undefined),
    (store: Store) => Effect.map(store.remove(key), () => undefined),
    (store: Store) => Effect.map(store.clearPrefix(prefix), () => undefined),
    (store: Store) => store.size,
    (store: Store) => store.isEmpty,
    (store: Store) => Effect.map(store.keys, (all) => [...all].sort()),
    (store: Store) => store.modify(key, (text) => `${text}!`),
    (store: Store) =>
      Effect.map(
        store.modifyUint8Array(key, (found) => new Uint8Array([...found, 7])),
        (found) => found && Base64.encode(found)
      )
  ])
}

const compare = (random: Random, subject: Store) =>
  Effect.gen(function* () {
    const model = Context.get(yield* Layer.build(Layer.fresh(KeyValueStore.layerMemory)), KeyValueStore.KeyValueStore)
    for (let i = 0; i < 200; i++) {
      const run = operation(random)
      const expected = JSON.stringify(yield* run(model))
      const actual = JSON.stringify(yield* run(subject))
      if (actual !== expected) throw new Violation(`operation ${i}: ${actual} instead of ${expected}`)
    }
  })

class User extends Schema.Class<User>("test/User")({ id: Schema.Int, name: Schema.String }) {}
class GetUser extends Persistable.Class<{ payload: { id: number } }>()("test/GetUser", {
  primaryKey: ({ id }) => `user ${id}`,
  success: User,
  error: Schema.String
}) {}

export const suite = (platform: string, run: RunWithDatabase) =>
  describe(`key-value stores ${platform}`, () => {
    const under = (body: Effect.Effect<void, unknown, Database.Database | Scope.Scope>) =>
      run(Effect.provide(Effect.scoped(body), TestClock.layer()))

    for (const [name, layer] of Object.entries(layers)) {
      it(`O11: ${name}: texts and bytes are read as they were set`, () =>
        under(
          Effect.gen(function* () {
            const store = yield* KeyValueStore.KeyValueStore
            for (const text of texts) {
              yield* store.set("key", text)
              expect(yield* store.get("key")).toBe(text)
              expect(yield* store.getUint8Array("key")).toEqual(new TextEncoder().encode(text))
            }
            for (const bytes of [new Uint8Array(), new Uint8Array([0, 42, 255, 128])]) {
              yield* store.set("key", bytes)
              expect(yield* store.getUint8Array("key")).toEqual(bytes)
              expect(yield* store.get("key")).toBe(Base64.encode(bytes))
            }
            expect(yield* store.size).toBe(1)
            const view = KeyValueStore.prefix(store, "in/")
            yield* view.set("x", "1")
            expect(yield* view.keys).toEqual(["x"])
            yield* view.clear
            expect(yield* store.keys).toEqual(["key"])
          }).pipe(Effect.provide(layer))
        ))

      it(`O11: ${name}: the same answers as Effect's own store, whatever the operations`, () =>
        forAllAsync(4, (random) =>
          under(KeyValueStore.KeyValueStore.use((store) => compare(random, store)).pipe(Effect.provide(layer)))
        ))
    }

    it("control: a store that takes bytes for text is found", () =>
      expect(
        forAllAsync(4, (random) =>
          under(
            KeyValueStore.KeyValueStore.use((store) =>
              compare(random, {
                ...store,
                set: (key, value) => store.set(key, typeof value === "string" ? value : new TextDecoder().decode(value))
              })
            ).pipe(Effect.provide(KeyValues.layer))
          )
        )
      ).rejects.toBeInstanceOf(Violation))

    it("O11: what the database cannot store is a typed error, and so is a failure of the database, without its cause", () =>
      under(
        Effect.gen(function* () {
          const { all } = yield* Database.Database
          const store = yield* KeyValueStore.KeyValueStore
          for (const refused of [store.set("\ud800", "a"), store.get("\udfff"), store.set("a", "\ud800")]) {
            expect(yield* Effect.flip(refused)).toMatchObject({ _tag: "KeyValueStoreError" })
          }
          all("DROP TABLE _dormouse_key_values", [])
          const error = yield* Effect.flip(store.get("a"))
          expect(error).toMatchObject({ _tag: "KeyValueStoreError", method: "get", key: "a" })
          expect(JSON.stringify(error)).not.toContain("no such table")
        }).pipe(Effect.provide(KeyValues.layer))
      ))

    for (const [name, layer] of Object.entries(backings)) {
      it(`O11: ${name}: stores of persisted values are apart, and their values expire`, () =>
        under(
          Effect.gen(function* () {
            const { make } = yield* Persistence.BackingPersistence
            const [a, b] = [yield* make("a"), yield* make("b")]
            yield* a.set("key", { n: 1 }, undefined)
            yield* b.set("key", { n: 2 }, undefined)
            yield* a.setMany([
              ["x", { n: 3 }, undefined],
              ["y", { n: 4 }, Duration.seconds(10)]
            ])
            const many = a.getMany(["key", "x", "y", "z", "x"])
            yield* TestClock.adjust(9999)
            expect(yield* many).toEqual([{ n: 1 }, { n: 3 }, { n: 4 }, undefined, { n: 3 }])
            yield* TestClock.adjust(1)
            expect(yield* many).toEqual([{ n: 1 }, { n: 3 }, undefined, undefined, { n: 3 }])
            yield* a.remove("x")
            expect(yield* a.get("x")).toBeUndefined()
            yield* a.clear
            expect(yield* a.get("key")).toBeUndefined()
            expect(yield* b.get("key")).toEqual({ n: 2 })
          }).pipe(Effect.provide(layer))
        ))

      it(`O11: ${name}: a PersistedCache looks up once, also in the next process, until the time to live`, () =>
        under(
          Effect.gen(function* () {
            let lookUps = 0
            const get = (id: number) =>
              Effect.gen(function* () {
                const cache = yield* PersistedCache.make(
                  (request: GetUser) => {
                    lookUps++
                    return request.id === 0 ? Effect.fail("none") : Effect.succeed(new User({ id, name: "Ada" }))
                  },
                  { storeId: "users", timeToLive: () => Duration.minutes(1) }
                )
                return yield* Effect.exit(cache.get(new GetUser({ id })))
              }).pipe(Effect.scoped)
            for (let i = 0; i < 2; i++) {
              expect(yield* get(1)).toEqual(Exit.succeed(new User({ id: 1, name: "Ada" })))
              expect(yield* get(0)).toEqual(Exit.fail("none"))
            }
            expect(lookUps).toBe(2)
            yield* TestClock.adjust("1 minute")
            yield* get(1)
            expect(lookUps).toBe(3)
          }).pipe(Effect.provide(Persistence.layer.pipe(Layer.provide(layer))))
        ))
    }

    it("O12: a key that has expired is in no answer, and is deleted with later writes, a few at a time, by an index", () =>
      under(
        Effect.gen(function* () {
          const { all } = yield* Database.Database
          const rows = () => Number(all("SELECT count(*) FROM _dormouse_key_values", []).rows[0]![0])
          const store = yield* KeyValueStore.KeyValueStore
          for (let i = 0; i < 20; i++) yield* KeyValues.set(`old ${i}`, "x", { timeToLive: "1 minute" })
          yield* KeyValues.set("kept", "y", { timeToLive: Duration.infinity })
          yield* TestClock.adjust(59_999)
          expect(yield* store.size).toBe(21)
          yield* store.modify("old 0", (text) => `${text}!`)
          yield* store.set("old 1", "for ever")
          yield* TestClock.adjust(1)
          expect(rows()).toBe(21)
          expect(yield* store.get("old 0")).toBeUndefined()
          expect(yield* store.getUint8Array("old 2")).toBeUndefined()
          expect(yield* store.has("old 3")).toBe(false)
          expect(yield* store.modify("old 4", (text) => text)).toBeUndefined()
          expect([...(yield* store.keys)].sort()).toEqual(["kept", "old 1"])
          expect(yield* store.size).toBe(2)
          for (const left of [14, 7, 5, 6]) {
            yield* store.set(`new ${left}`, "z")
            expect(rows()).toBe(left)
          }
          yield* KeyValues.set("kept", "gone", { timeToLive: 0 })
          expect(yield* store.has("kept")).toBe(false)
          const plan = all(
            "EXPLAIN QUERY PLAN SELECT space, key FROM _dormouse_key_values WHERE expires IS NOT NULL AND expires <= ? " +
              "ORDER BY expires LIMIT ?",
            [0, 8]
          ).rows
          expect(String(plan.map((row) => row[3]))).toMatch(/USING COVERING INDEX _dormouse_key_values_by_expiry/)
        }).pipe(Effect.provide(KeyValues.layer))
      ))

    it("O12: a store whose keys cannot expire refuses a time to live, and so does a view", () =>
      under(
        Effect.gen(function* () {
          const expiring = KeyValues.set("a", "x", { timeToLive: 1000 })
          expect(yield* Effect.flip(Effect.provide(expiring, KeyValueStore.layerMemory))).toMatchObject({
            _tag: "KeyValueStoreError"
          })
          const store = yield* KeyValueStore.KeyValueStore
          const view = KeyValueStore.prefix(store, "in/")
          expect(yield* Effect.flip(Effect.provideService(expiring, KeyValueStore.KeyValueStore, view))).toMatchObject({
            _tag: "KeyValueStoreError"
          })
          expect(yield* store.size).toBe(0)
        }).pipe(Effect.provide(KeyValues.layer))
      ))

    const inStorage = (
      title: string,
      body: (transactor: Transactor["Service"]) => Effect.Effect<void, unknown, Store | Scope.Scope | Database.Database>
    ) => it(title, () => under(Transactor.use(body).pipe(Effect.provide(storage))))

    const get = (key: string) => KeyValueStore.KeyValueStore.use((store) => store.get(key))
    const set = (key: string, value: string) => KeyValues.set(key, value)

    inStorage(
      "O13: what a mutation sets commits and rolls back with it, and a query refuses to write",
      ({ read, write }) =>
        Effect.gen(function* () {
          yield* write(set("a", "1"))
          const part = Table.atomically(Effect.andThen(set("a", "3"), Effect.fail("no")))
          expect(yield* write(Effect.andThen(Effect.andThen(set("b", "2"), Effect.ignore(part)), get("a")))).toBe("1")
          yield* Effect.exit(write(Effect.andThen(Effect.andThen(set("a", "4"), set("c", "4")), Effect.fail("no"))))
          expect(yield* read(Effect.all([get("a"), get("b"), get("c")]))).toEqual(["1", "2", undefined])
          const writes = [
            set("a", "5"),
            KeyValues.set("a", "5", { timeToLive: 1000 }),
            KeyValueStore.KeyValueStore.use((store) => store.remove("a")),
            KeyValueStore.KeyValueStore.use((store) => store.clear),
            KeyValueStore.KeyValueStore.use((store) => store.modify("a", (text) => text))
          ]
          for (const effect of writes) {
            expect(String(yield* Effect.exit(read(effect)))).toMatch(/a query cannot write: make it a mutation/)
          }
          expect(yield* read(get("a"))).toBe("1")
        })
    )

    inStorage(
      "O13: a live query that read a key runs again when that key changes, and not when another one does",
      (tx) =>
        Effect.gen(function* () {
          const { live, write } = tx
          let runs = 0
          const seen: Array<string | undefined> = []
          const counted = Effect.andThen(
            Effect.sync(() => {
              runs++
            }),
            get("a")
          )
          const fiber = yield* Effect.forkScoped(
            Stream.runForEach(live(counted), (value) => Effect.sync(() => void seen.push(value)))
          )
          const sizes: Array<number> = []
          const size = KeyValueStore.KeyValueStore.use((store) => store.size)
          yield* Effect.forkScoped(Stream.runForEach(live(size), (value) => Effect.sync(() => void sizes.push(value))))
          yield* TestClock.adjust(0)
          expect([seen, runs, sizes]).toEqual([[undefined], 1, [0]])
          const step = (effect: Effect.Effect<unknown, unknown, Store>) =>
            Effect.andThen(write(effect), TestClock.adjust(0))
          yield* step(set("b", "1"))
          expect([seen, runs, sizes]).toEqual([[undefined], 1, [0, 1]])
          yield* step(set("a", "1"))
          expect([seen, runs, sizes]).toEqual([[undefined, "1"], 2, [0, 1, 2]])
          yield* step(KeyValueStore.KeyValueStore.use((store) => store.clearPrefix("b")))
          expect([seen, runs, sizes]).toEqual([[undefined, "1"], 2, [0, 1, 2, 1]])
          yield* step(KeyValueStore.KeyValueStore.use((store) => store.clear))
          expect(seen).toEqual([undefined, "1", undefined])
          // A write that deletes an expired key shows it.
          yield* step(KeyValues.set("a", "2", { timeToLive: 1000 }))
          yield* TestClock.adjust(1000)
          expect(seen.at(-1)).toBe("2")
          yield* step(set("c", "1"))
          expect(seen.at(-1)).toBeUndefined()
          yield* Fiber.interrupt(fiber)
        })
    )
  })
