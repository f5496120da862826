import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database, PersistedQueues } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import { forAllAsync, type Random, Violation } from "../../random.ts"

/** Runs an effect over a new, empty database of one platform. */
export type RunWithDatabase = (effect: Effect.Effect<void, unknown, Database.Database>) => Promise<void>

/** The layer of one platform's database. */
export const withLayer =
  (layer: Layer.Layer<Database.Database>): RunWithDatabase =>
  (effect) =>
    Effect.runPromise(Effect.provide(effect, layer))

type Store = PersistedQueue.PersistedQueueStore
type Services = PersistedQueue.PersistedQueueFactory | Store | Scope.Scope

const layers: Record<string, Layer.Layer<Store, never, Database.Database>> = {
  "Effect's own store": PersistedQueue.layerStoreMemory,
  "the rows of a database": PersistedQueues.layerStore()
}

const Item = Schema.Struct({ n: Schema.BigInt })
const retrySchedule = Schedule.spaced("10 seconds")
const queueOf = (options: { readonly name?: string; readonly maxAttempts?: number } = {}) =>
  PersistedQueues.make({ name: "mail", schema: Item, retrySchedule, ...options })

/** Whether a fiber has ended, after everything that can run has run. */
const hasEnded = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(TestClock.adjust(0), () => fiber.pollUnsafe() !== undefined)

/** A process with a store of its own over the database, until the scope closes. */
const process = (options?: PersistedQueues.StoreOptions) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const built = Layer.fresh(PersistedQueue.layer.pipe(Layer.provideMerge(PersistedQueues.layerStore(options))))
    const services = yield* Layer.buildWithScope(built, scope)
    const store = Context.get(services, PersistedQueue.PersistedQueueStore)
    return { scope, services, store }
  })

/** Takes an element in a scope that the test closes, or never closes: the process was lost. */
const claimWith = (store: Store["Service"], name: string, maxAttempts = 3) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const retryDelay = () => Effect.succeed(Duration.seconds(10))
    const fiber = yield* Effect.forkChild(Scope.provide(store.take({ name, maxAttempts, retryDelay }), scope))
    if (!(yield* hasEnded(fiber))) {
      yield* Fiber.interrupt(fiber)
      return undefined
    }
    return { ...(yield* Fiber.join(fiber)), close: (exit: Exit.Exit<unknown, unknown>) => Scope.close(scope, exit) }
  })

const ends = {
  success: Exit.void,
  failure: Exit.fail("no"),
  defect: Exit.die("no"),
  interruption: Exit.failCause(Cause.interrupt())
}

/** An element as the model knows it. */
interface Element {
  readonly id: string
  readonly keep: boolean
  state: "pending" | "completed" | "failed"
  at: number
  attempts: number
  holder: object | undefined
}

const lease = 60_000
const maxAttempts = 3

/** Random offers, takes, ends, losses of the process and clean-ups, each compared with a model. */
const compare = (random: Random, spoil: (store: Store["Service"]) => Store["Service"] = (store) => store) =>
  Effect.gen(function* () {
    const start = Effect.map(process({ lease }), ({ scope, store }) => ({ scope, store: spoil(store) }))
    let current = yield* start
    const elements = new Map<string, Element>()
    type Claim = {
      readonly element: Element
      readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
    }
    const claims: Array<Claim> = []
    let generated = 0
    const nowOf = Effect.clockWith(({ currentTimeMillis }) => currentTimeMillis)
    const advance = function* (millis: number) {
      // In steps that renewals survive.
      for (let left = millis; left > 0; left -= 5000) yield* TestClock.adjust(Math.min(left, 5000))
    }
    for (let step = 0; step < 150; step++) {
      const now = yield* nowOf
      const kind = random.int(100)
      if (kind < 35) {
        const keep = random.chance(0.5)
        const id = keep ? `chosen ${random.int(8)}` : `generated ${generated++}`
        const delay = random.chance(0.3) ? Duration.millis(1 + random.int(30_000)) : undefined
        yield* current.store.offer({ name: "q", id, element: { id }, isCustomId: keep, delay })
        if (!elements.has(id)) {
          const at = now + (delay === undefined ? 0 : Duration.toMillis(delay))
          elements.set(id, { id, keep, state: "pending", at, attempts: 0, holder: undefined })
        }
      } else if (kind < 65) {
        const ready = [...elements.values()].filter(
          ({ at, attempts, holder, state }) =>
            state === "pending" && at <= now && holder === undefined && attempts < maxAttempts
        )
        const taken = yield* claimWith(current.store, "q", maxAttempts)
        const element = ready.find(({ id }) => id === taken?.id)
        if (taken === undefined ? ready.length > 0 : element === undefined) {
          throw new Violation(`step ${step}: took ${taken?.id}, ready: ${ready.map(({ id }) => id)}`)
        }
        if (taken === undefined || element === undefined) continue
        element.attempts++
        if (taken.attempts !== element.attempts || JSON.stringify(taken.element) !== JSON.stringify({ id: taken.id })) {
          throw new Violation(`step ${step}: ${JSON.stringify(taken)} instead of attempt ${element.attempts}`)
        }
        element.holder = taken.close
        claims.push({ element, close: taken.close })
      } else if (kind < 85 && claims.length > 0) {
        const [claim] = claims.splice(random.int(claims.length), 1)
        const { close, element } = claim!
        const ending = random.pick(["success", "success", "failure", "defect", "interruption"] as const)
        yield* close(ends[ending])
        // What somebody else has claimed since is no longer this one's.
        if (element.holder !== close) continue
        element.holder = undefined
        if (ending === "success") {
          element.state = "completed"
          element.at = now
          if (!element.keep) elements.delete(element.id)
        } else if (ending === "interruption") {
          element.attempts--
          element.at = now
        } else if (element.attempts >= maxAttempts) {
          element.state = "failed"
        } else element.at = now + 10_000
      } else if (kind < 90) {
        yield* Scope.close(current.scope, Exit.void)
        current = yield* start
        yield* advance(lease)
        for (let i = claims.length - 1; i >= 0; i--) {
          const { element, close } = claims[i]!
          if (element.holder === close && element.attempts < maxAttempts) element.holder = undefined
          // The late end of a claim that is over changes something only if nobody has claimed the element since: not tested here.
          if (random.chance(0.5) || element.attempts >= maxAttempts) claims.splice(i, 1)
        }
        // Everything that can be claimed now is claimed, so that late ends are late.
        for (;;) {
          const taken = yield* claimWith(current.store, "q", maxAttempts)
          if (taken === undefined) break
          const element = elements.get(taken.id)
          if (element?.holder !== undefined || element?.state !== "pending" || element.at > (yield* nowOf)) {
            throw new Violation(`step ${step}: took ${taken.id} after a loss`)
          }
          element.attempts++
          if (taken.attempts !== element.attempts) throw new Violation(`step ${step}: attempt ${taken.attempts}`)
          element.holder = taken.close
          claims.push({ element, close: taken.close })
        }
      } else if (kind < 94) {
        const timeToLive = random.int(60_000)
        yield* current.store.cleanup({ timeToLive: Duration.millis(timeToLive), failedTimeToLive: undefined })
        for (const { at, id, state } of [...elements.values()]) {
          if (state === "completed" && at <= now - timeToLive) elements.delete(id)
        }
      } else yield* advance(random.int(40_000))
    }
  })

export const suite = (platform: string, run: RunWithDatabase) =>
  describe(`persisted queues ${platform}`, () => {
    const under = (body: Effect.Effect<void, unknown, Database.Database | Scope.Scope>) =>
      run(Effect.provide(Effect.scoped(body), TestClock.layer()))

    for (const [store, layer] of Object.entries(layers)) {
      const test = (title: string, body: Effect.Effect<void, unknown, Services>) =>
        it(`O8: ${store}: ${title}`, () =>
          under(Effect.provide(body, PersistedQueue.layer.pipe(Layer.provideMerge(layer)))))

      test(
        "what is offered is taken, once, in its order",
        Effect.gen(function* () {
          const queue = yield* queueOf()
          for (const n of [1n, 2n, 3n]) yield* queue.offer({ n })
          for (const n of [1n, 2n, 3n]) {
            expect(yield* queue.take((item, { attempts }) => Effect.succeed({ ...item, attempts }))).toEqual({
              n,
              attempts: 1
            })
          }
          const fiber = yield* Effect.forkChild(queue.take(Effect.succeed))
          yield* TestClock.adjust("1 hour")
          expect(fiber.pollUnsafe()).toBeUndefined()
          yield* queue.offer({ n: 4n })
          expect(yield* Fiber.join(fiber)).toEqual({ n: 4n })
        })
      )

      test(
        "an interruption releases the element without counting the attempt",
        Effect.gen(function* () {
          const queue = yield* queueOf()
          yield* queue.offer({ n: 42n })
          const begun = Latch.makeUnsafe()
          const first = yield* Effect.forkChild(queue.take(() => Effect.andThen(begun.open, Effect.never)))
          yield* begun.await
          const second = yield* Effect.forkChild(queue.take((item, { attempts }) => Effect.succeed([item.n, attempts])))
          yield* TestClock.adjust("1 hour")
          expect(second.pollUnsafe()).toBeUndefined()
          yield* Fiber.interrupt(first)
          expect(yield* Fiber.join(second)).toEqual([42n, 1])
        })
      )

      for (const [kind, failure] of [
        ["failure", Effect.fail("boom")],
        ["defect", Effect.die("boom")]
      ] as const) {
        test(
          `a ${kind} is retried after the queue's delay, until the attempts are used up`,
          Effect.gen(function* () {
            const queue = yield* queueOf({ maxAttempts: 3 })
            const seen: Array<unknown> = []
            yield* queue.offer({ n: 42n })
            for (const attempts of [1, 2, 3]) {
              const fiber = yield* Effect.forkChild(
                Effect.exit(
                  queue.take((_, metadata) =>
                    Effect.andThen(
                      Effect.sync(() => seen.push(metadata.attempts)),
                      failure
                    )
                  )
                )
              )
              if (attempts > 1) {
                yield* TestClock.adjust(9999)
                expect(seen.length).toBe(attempts - 1)
                yield* TestClock.adjust(1)
              }
              expect(String(yield* Fiber.join(fiber))).toContain("boom")
            }
            expect(seen).toEqual([1, 2, 3])
            const fiber = yield* Effect.forkChild(queue.take(Effect.succeed))
            yield* TestClock.adjust("1 day")
            expect(fiber.pollUnsafe()).toBeUndefined()
          })
        )
      }

      test(
        "an id is added once in its queue, also after it was processed, until a clean-up",
        Effect.gen(function* () {
          const queue = yield* queueOf()
          const other = yield* queueOf({ name: "other" })
          for (const n of [1n, 2n]) expect(yield* queue.offer({ n }, { id: "same" })).toBe("same")
          yield* other.offer({ n: 3n }, { id: "same" })
          expect(yield* queue.take(Effect.succeed)).toEqual({ n: 1n })
          expect(yield* other.take(Effect.succeed)).toEqual({ n: 3n })
          yield* queue.offer({ n: 4n }, { id: "same" })
          const fiber = yield* Effect.forkChild(queue.take(Effect.succeed))
          const { cleanup } = yield* PersistedQueue.PersistedQueueStore
          const clean = cleanup({ timeToLive: Duration.hours(1), failedTimeToLive: undefined })
          yield* TestClock.adjust("59 minutes")
          yield* clean
          yield* queue.offer({ n: 5n }, { id: "same" })
          expect(yield* hasEnded(fiber)).toBe(false)
          yield* TestClock.adjust("1 minute")
          yield* clean
          yield* queue.offer({ n: 6n }, { id: "same" })
          expect(yield* Fiber.join(fiber)).toEqual({ n: 6n })
        })
      )

      test(
        "a delay postpones the first delivery and counts no attempt",
        Effect.gen(function* () {
          const queue = yield* queueOf()
          yield* queue.offer({ n: 1n }, { delay: "1 minute" })
          yield* queue.offer({ n: 2n }, { delay: Duration.infinity, id: "never" })
          const fiber = yield* Effect.forkChild(queue.take((_, { attempts }) => Effect.succeed(attempts)))
          yield* TestClock.adjust(59_999)
          expect(fiber.pollUnsafe()).toBeUndefined()
          // One that may be delivered earlier does not wait for the first.
          yield* queue.offer({ n: 3n }, { delay: "1 second" })
          yield* queue.offer({ n: 4n })
          expect(yield* Fiber.join(fiber)).toBe(1)
          expect(
            yield* Effect.forkChild(queue.take(Effect.succeed)).pipe(
              Effect.tap(TestClock.adjust(1)),
              Effect.flatMap(Fiber.join)
            )
          ).toEqual({ n: 1n })
          expect(
            yield* Effect.forkChild(queue.take(Effect.succeed)).pipe(
              Effect.tap(TestClock.adjust(999)),
              Effect.flatMap(Fiber.join)
            )
          ).toEqual({ n: 3n })
        })
      )

      test(
        "what cannot be decoded is a dead letter at once, and the next element is taken",
        Effect.gen(function* () {
          const { offer } = yield* PersistedQueue.PersistedQueueStore
          const queue = yield* queueOf()
          yield* offer({ name: "mail", id: "bad", element: { n: null }, isCustomId: false })
          yield* queue.offer({ n: 2n })
          expect(yield* queue.take(Effect.succeed)).toEqual({ n: 2n })
          const fiber = yield* Effect.forkChild(queue.take(Effect.succeed))
          yield* TestClock.adjust("1 day")
          expect(fiber.pollUnsafe()).toBeUndefined()
        })
      )
    }

    const testOurs = (title: string, body: Effect.Effect<void, unknown, Database.Database | Scope.Scope>) =>
      it(title, () => under(body))

    testOurs(
      "O9: an element of a lost process is delivered again when its claim ends, and counts the attempt",
      Effect.gen(function* () {
        const lost = yield* process({ lease: "1 minute" })
        const other = yield* process({ lease: "1 minute" })
        yield* lost.store.offer({ name: "q", id: "a", element: 1, isCustomId: false })
        const first = yield* claimWith(lost.store, "q")
        expect(first).toMatchObject({ id: "a", attempts: 1 })
        // While the process is there it renews the claim.
        yield* TestClock.adjust("10 minutes")
        expect(yield* claimWith(other.store, "q")).toBeUndefined()
        yield* Scope.close(lost.scope, Exit.void)
        yield* TestClock.adjust("30 seconds")
        expect(yield* claimWith(other.store, "q")).toBeUndefined()
        yield* TestClock.adjust("30 seconds")
        const second = yield* claimWith(other.store, "q")
        expect(second).toMatchObject({ id: "a", attempts: 2, element: 1 })
        // The end of the old claim is not that of the new one.
        yield* first!.close(Exit.void)
        yield* second!.close(ends.interruption)
        expect(yield* claimWith(other.store, "q")).toMatchObject({ id: "a", attempts: 2 })
      })
    )

    testOurs(
      "O9: an old claim does not end the claim of another element in its row",
      Effect.gen(function* () {
        const lost = yield* process({ lease: 1000 })
        yield* lost.store.offer({ name: "q", id: "a", element: 1, isCustomId: false })
        const first = yield* claimWith(lost.store, "q")
        yield* Scope.close(lost.scope, Exit.void)
        yield* TestClock.adjust(1000)
        const { store } = yield* process()
        const again = yield* claimWith(store, "q")
        yield* again!.close(Exit.void)
        yield* store.offer({ name: "q", id: "b", element: 2, isCustomId: false })
        const second = yield* claimWith(store, "q")
        yield* first!.close(Exit.void)
        yield* second!.close(ends.interruption)
        expect(yield* claimWith(store, "q")).toMatchObject({ id: "b", attempts: 1 })
      })
    )

    testOurs(
      "O9: dead letters are kept with their reason, and can be delivered again",
      Effect.gen(function* () {
        const { scope, store } = yield* process({ lease: 1000 })
        yield* store.offer({ name: "q", id: "fails", element: { n: 1 }, isCustomId: true })
        yield* (yield* claimWith(store, "q", 1))!.close(Exit.fail("boom"))
        yield* store.offer({ name: "q", id: "lost", element: 2, isCustomId: false })
        yield* claimWith(store, "q", 1)
        yield* Scope.close(scope, Exit.void)
        yield* TestClock.adjust(1000)
        const next = yield* process()
        expect(yield* claimWith(next.store, "q", 1)).toBeUndefined()
        const letters = yield* PersistedQueues.deadLetters({ name: "q" })
        expect(letters).toMatchObject([
          { id: "fails", element: { n: 1 }, attempts: 1, failedAt: 0 },
          { id: "lost", element: 2, failure: "the process was lost during the last attempt", failedAt: 1000 }
        ])
        expect(letters[0]!.failure).toContain("boom")
        yield* next.store.cleanup({ timeToLive: Duration.zero, failedTimeToLive: undefined })
        expect(yield* PersistedQueues.deadLetters({ name: "q", take: 1 })).toMatchObject([{ id: "fails" }])
        expect(yield* PersistedQueues.redeliver({ name: "q", id: "none" })).toBe(false)
        expect(yield* PersistedQueues.redeliver({ name: "q", id: "fails" })).toBe(true)
        expect(yield* claimWith(next.store, "q", 1)).toMatchObject({ id: "fails", attempts: 1, element: { n: 1 } })
        yield* TestClock.adjust("1 hour")
        yield* next.store.cleanup({ timeToLive: Duration.zero, failedTimeToLive: Duration.minutes(1) })
        expect(yield* PersistedQueues.deadLetters({ name: "q" })).toEqual([])
      })
    )

    it("O9: random histories with lost processes are those of a model", () =>
      forAllAsync(4, (random) => under(compare(random))))

    it("control: a store that ignores delays is found by the model", () =>
      expect(
        forAllAsync(4, (random) =>
          under(
            compare(random, (store) => ({
              ...store,
              offer: (options) => store.offer({ ...options, delay: undefined })
            }))
          )
        )
      ).rejects.toBeInstanceOf(Violation))

    testOurs(
      "O10: takers that wait run no statement until an offer, whichever store of the process it uses",
      Effect.gen(function* () {
        const database = yield* Database.Database
        let statements = 0
        const counted: Database.Database["Service"] = {
          ...database,
          all: (...args) => {
            statements++
            return database.all(...args)
          },
          run: (...args) => {
            statements++
            database.run(...args)
          }
        }
        yield* Effect.gen(function* () {
          const [one, two] = [yield* process(), yield* process()]
          const takes = yield* Effect.forEach([one, one, one, two], ({ services }) =>
            Effect.flatMap(queueOf(), (queue) => Effect.forkChild(queue.take(Effect.succeed))).pipe(
              Effect.provideContext(services)
            )
          )
          yield* TestClock.adjust(0)
          statements = 0
          yield* TestClock.adjust("30 days")
          expect(statements).toBe(0)
          const offering = Effect.flatMap(queueOf(), (queue) => queue.offer({ n: 1n }))
          yield* Effect.provideContext(offering, two.services)
          yield* TestClock.adjust(0)
          // The offer, a claim, its end, and the look of the one who is woken next: it is at the end of the queue.
          expect(statements).toBe(5)
          expect(takes.filter((fiber) => fiber.pollUnsafe() !== undefined).length).toBe(1)
          // The woken one has a timer until the claim would have ended, and then looks once.
          yield* TestClock.adjust("2 minutes")
          expect(statements).toBe(7)
          // Nothing is claimed: no claim is renewed.
          yield* TestClock.adjust("30 days")
          expect(statements).toBe(7)
        }).pipe(Effect.provideService(Database.Database, counted))
      })
    )

    testOurs(
      "O10: each of many takers gets one element, and those who leave when they are woken take none along",
      Effect.gen(function* () {
        const queue = yield* queueOf()
        const takers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
          Effect.forkChild(queue.take(({ n }) => Effect.succeed(Number(n))))
        )
        yield* TestClock.adjust("1 hour")
        for (let n = 0; n < 10; n++) yield* queue.offer({ n: BigInt(n) })
        yield* queue.offer({ n: 10n }, { delay: "1 hour" })
        yield* Effect.forEach(takers.slice(0, 2), Fiber.interrupt)
        for (let n = 11; n < 19; n++) yield* queue.offer({ n: BigInt(n) }, { delay: "1 second" })
        yield* TestClock.adjust("2 hours")
        const taken = (yield* Effect.forEach(takers, Fiber.await)).flatMap((exit) =>
          Exit.isSuccess(exit) ? [exit.value] : []
        )
        const left = yield* Effect.forEach(Array.from({ length: 19 - taken.length }), () =>
          queue.take(({ n }) => Effect.succeed(Number(n)))
        )
        expect([...taken, ...left].sort((a, b) => a - b)).toEqual(Array.from({ length: 19 }, (_, i) => i))
      }).pipe(Effect.provide(PersistedQueues.layer()))
    )

    testOurs(
      "O10: an element of another process is taken when something wakes a taker, and at a start",
      Effect.gen(function* () {
        const { services, store } = yield* process()
        yield* store.offer({ name: "mail", id: "a", element: { n: "1" }, isCustomId: false })
        const taken = Effect.flatMap(queueOf(), (queue) => queue.take(Effect.succeed))
        expect(yield* Effect.provideContext(taken, services)).toEqual({ n: 1n })
      })
    )

    testOurs(
      "O8: an error of the database is typed and does not show its cause, and damaged elements are dead letters",
      Effect.gen(function* () {
        const { all } = yield* Database.Database
        const { store } = yield* process()
        const offer = (id: string) => store.offer({ name: "q", id, element: 1, isCustomId: true })
        yield* offer("damaged")
        all("UPDATE _dormouse_persisted_queue SET element = '{'", [])
        yield* offer("good")
        expect(yield* claimWith(store, "q")).toMatchObject({ id: "good" })
        expect(yield* PersistedQueues.deadLetters({ name: "q" })).toMatchObject([{ id: "damaged", element: "{" }])
        expect(yield* Effect.flip(offer("\ud800"))).toMatchObject({ _tag: "PersistedQueueError" })
        all("DROP TABLE _dormouse_persisted_queue", [])
        const error = yield* Effect.flip(offer("c"))
        expect(error).toMatchObject({ _tag: "PersistedQueueError" })
        expect(JSON.stringify(error)).not.toContain("no such table")
        const retryDelay = () => Effect.succeed(Duration.zero)
        expect(yield* Effect.flip(Effect.scoped(store.take({ name: "q", maxAttempts: 1, retryDelay })))).toMatchObject({
          _tag: "PersistedQueueError"
        })
      })
    )

    testOurs(
      "O8: claims, waits and clean-ups read by an index",
      Effect.gen(function* () {
        const { all } = yield* Database.Database
        yield* process()
        const table = "_dormouse_persisted_queue"
        const planOf = (sql: string) =>
          all(`EXPLAIN QUERY PLAN ${sql}`, [])
            .rows.map((row) => String(row[3]))
            .join("; ")
        const pending = "queue = 'q' AND state = 'pending'"
        expect(planOf(`SELECT sequence FROM ${table} WHERE ${pending} AND at <= 1 ORDER BY at, sequence LIMIT 1`)).toBe(
          `SEARCH ${table} USING COVERING INDEX ${table}_by_time (queue=? AND at<?)`
        )
        expect(planOf(`SELECT at FROM ${table} WHERE ${pending} ORDER BY at LIMIT 1`)).toMatch(/by_time \(queue=\?\)$/)
        expect(
          planOf(`SELECT sequence FROM ${table} WHERE state = 'failed' AND state <> 'pending' AND at <= 1 LIMIT 9`)
        ).toMatch(/by_end \(state=\? AND at<\?\)$/)
      })
    )
  })
