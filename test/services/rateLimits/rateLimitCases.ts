import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as TestClock from "effect/testing/TestClock"
import { Database, RateLimits, Storage, Table, type Transactional, Transactor } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import { forAllAsync, type Random, Violation } from "../../random.ts"

/** Runs an effect over a new, empty database of one platform. */
export type RunWithDatabase = (effect: Effect.Effect<void, unknown, Database.Database>) => Promise<void>

class Note extends Model.Class<Note>("test/Note")({ id: Schema.String, body: Schema.String }) {}
const notes = Table.make("notes", Note, { key: "id" })

const storage = Storage.layer({ tables: [notes], transactional: [RateLimits.transactional] })

/** A limiter that makes each charge in a mutation of its own. */
const inMutations = Layer.effect(
  RateLimiter.RateLimiter,
  Effect.gen(function* () {
    const { write } = yield* Transactor
    const outside = yield* RateLimiter.RateLimiter
    const run = <A, E>(use: (limiter: RateLimiter.RateLimiter) => Effect.Effect<A, E>) =>
      Effect.provideService(write(Effect.flatMap(RateLimiter.RateLimiter, use)), RateLimiter.RateLimiter, outside)
    return {
      [RateLimiter.TypeId]: RateLimiter.TypeId,
      consume: (options) => run(({ consume }) => consume(options)),
      adaptiveConsume: (options) => run(({ adaptiveConsume }) => adaptiveConsume(options)),
      adaptiveFeedback: (options) => run(({ adaptiveFeedback }) => adaptiveFeedback(options))
    }
  })
).pipe(Layer.provide(storage))

const effectsOwn = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))

const layers = {
  "Effect's own store": effectsOwn,
  "the rows of a database": RateLimits.layer,
  "the rows of a tenant, in mutations": inMutations
}

const charge = (options: Partial<Parameters<RateLimiter.RateLimiter["consume"]>[0]> = {}) =>
  RateLimiter.RateLimiter.use(({ consume }) =>
    Effect.exit(consume({ key: "ada", limit: 3, window: "1 minute", ...options }))
  )

/** How a charge ended, as data that can be compared. */
const outcomeOf = (exit: Exit.Exit<RateLimiter.ConsumeResult, RateLimiter.RateLimiterError>): unknown => {
  if (Exit.isSuccess(exit)) {
    const { delay, limit, remaining, resetAfter } = exit.value
    return { delay: Duration.toMillis(delay), limit, remaining, resetAfter: Duration.toMillis(resetAfter) }
  }
  const [reason] = exit.cause.reasons
  const error = reason?._tag === "Fail" ? reason.error.reason : undefined
  if (error?._tag !== "RateLimitExceeded") throw new Error(String(exit))
  return { key: error.key, retryAfter: Duration.toMillis(error.retryAfter) }
}

/** One random operation, for all limiters. */
const operation = (random: Random, ofKey: (key: string) => number) => {
  const key = random.pick(["a", "b", "c"])
  const tokens = random.pick([1, 1, 1, 2, 0.5, 4])
  if (random.chance(0.3)) {
    if (random.chance(0.5)) {
      const options = { key, tokens, fallbackLimit: 5, fallbackWindow: Duration.seconds(10) }
      return (limiter: RateLimiter.RateLimiter) =>
        Effect.map(limiter.adaptiveConsume(options), ({ delay, ...rest }) => ({
          delay: Duration.toMillis(delay),
          ...rest
        }))
    }
    const epoch = random.int(4)
    const retryAfter = random.chance(0.2) ? undefined : Duration.millis(random.int(20_000))
    const options = { key, tokens, epoch, status: random.pick([200, 429, 429]), retryAfter }
    return (limiter: RateLimiter.RateLimiter) => limiter.adaptiveFeedback(options)
  }
  const options = {
    key,
    tokens,
    // A key always has the same limit.
    limit: ofKey(key),
    window: Duration.seconds(7),
    algorithm: random.pick(["fixed-window", "token-bucket"] as const),
    onExceeded: random.pick(["fail", "fail", "delay"] as const)
  }
  return (limiter: RateLimiter.RateLimiter) => Effect.map(Effect.exit(limiter.consume(options)), outcomeOf)
}

/** Compares a limiter with Effect's own, operation by operation. */
const compare = (random: Random, subject: RateLimiter.RateLimiter) =>
  Effect.gen(function* () {
    const model = Context.get(yield* Layer.build(Layer.fresh(effectsOwn)), RateLimiter.RateLimiter)
    const limits = new Map(["a", "b", "c"].map((key) => [key, 1 + random.int(8)]))
    for (let i = 0; i < 120; i++) {
      yield* TestClock.adjust(random.pick([0, 0, 1, 100, random.int(3000), random.int(100_000)]))
      const run = operation(random, (key) => limits.get(key)!)
      const expected = JSON.stringify(yield* run(model))
      const actual = JSON.stringify(yield* run(subject))
      if (actual !== expected) throw new Violation(`operation ${i}: ${actual} instead of ${expected}`)
    }
  })

export const suite = (name: string, run: RunWithDatabase) =>
  describe(`R1: rate limits ${name}`, () => {
    const under = (body: Effect.Effect<void, unknown, Database.Database>) =>
      run(Effect.provide(body, TestClock.layer()))

    for (const [store, layer] of Object.entries(layers)) {
      const test = (title: string, body: Effect.Effect<void, unknown, RateLimiter.RateLimiter>) =>
        it(`${store}: ${title}`, () => under(Effect.provide(body, layer)))

      test(
        "a charge beyond the limit fails with the time after which it may succeed",
        Effect.gen(function* () {
          for (const remaining of [2, 1, 0]) expect(outcomeOf(yield* charge())).toMatchObject({ remaining })
          expect(outcomeOf(yield* charge())).toEqual({ key: "ada", retryAfter: 60_000 })
          expect(outcomeOf(yield* charge({ key: "bo" }))).toMatchObject({ remaining: 2 })
          yield* TestClock.adjust("59 seconds")
          expect(outcomeOf(yield* charge())).toEqual({ key: "ada", retryAfter: 1000 })
          yield* TestClock.adjust("1 second")
          expect(outcomeOf(yield* charge())).toMatchObject({ remaining: 2 })
        })
      )

      test(
        "a bucket gets its tokens back one by one",
        Effect.gen(function* () {
          const algorithm = "token-bucket"
          for (let i = 0; i < 3; i++) yield* charge({ algorithm })
          expect(outcomeOf(yield* charge({ algorithm }))).toEqual({ key: "ada", retryAfter: 20_000 })
          yield* TestClock.adjust("20 seconds")
          expect(outcomeOf(yield* charge({ algorithm }))).toMatchObject({ remaining: 0 })
          expect(outcomeOf(yield* charge({ algorithm }))).toEqual({ key: "ada", retryAfter: 20_000 })
        })
      )

      it(`${store}: the same answers as Effect's own store, whatever the charges`, () =>
        forAllAsync(4, (random) =>
          under(
            RateLimiter.RateLimiter.use((limiter) => Effect.scoped(compare(random, limiter))).pipe(
              Effect.provide(layer)
            )
          )
        ))
    }

    it("A20: without an app the table has its index as well", () =>
      under(
        Effect.gen(function* () {
          const { all } = yield* Database.Database
          const indexes =
            "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE '_dormouse_rate_limits_by%'"
          expect(all(indexes, []).rows).toEqual([["_dormouse_rate_limits_by_sweep"]])
        }).pipe(Effect.provide(RateLimits.layer))
      ))

    it("control: a store that returns tokens too early is found", () =>
      expect(
        forAllAsync(4, (random) =>
          under(
            RateLimiter.RateLimiter.use((limiter) => {
              const early: RateLimiter.RateLimiter = {
                ...limiter,
                consume: (options) =>
                  limiter.consume({ ...options, window: Duration.times(Duration.fromInputUnsafe(options.window), 0.9) })
              }
              return Effect.scoped(compare(random, early))
            }).pipe(Effect.provide(RateLimits.layer))
          )
        )
      ).rejects.toBeInstanceOf(Violation))

    const inStorage = (
      title: string,
      body: (
        transactor: Transactor["Service"],
        rows: Database.Database["Service"]["all"]
      ) => Effect.Effect<void, unknown, RateLimiter.RateLimiter>
    ) =>
      it(title, () =>
        under(
          Effect.gen(function* () {
            const { all } = yield* Database.Database
            yield* Effect.provide(
              Transactor.use((transactor) => body(transactor, all)),
              storage
            )
          })
        )
      )

    const take = RateLimits.charge({ key: "ada", limit: 100, window: "1 minute" })
    const add = (id: string) => notes.insert({ id, body: "" })
    /** How many charges count, by one more of no tokens. */
    const counted = ({ write }: Transactor["Service"]) =>
      Effect.map(
        write(RateLimits.charge({ key: "ada", limit: 100, window: "1 minute", tokens: 0 })),
        ({ remaining }) => 100 - remaining
      )

    for (const ending of ["success", "failure", "defect", "wait", "interruption"] as const) {
      inStorage(`A20: a charge counts once, and rows only after a success: ${ending}`, (transactor) =>
        Effect.gen(function* () {
          const { read, write } = transactor
          const ends = {
            success: Effect.void,
            failure: Effect.fail("no"),
            defect: Effect.die("no"),
            wait: Effect.sleep("1 second"),
            interruption: Effect.interrupt
          }[ending]
          const exit = yield* Effect.exit(
            write(Effect.andThen(Effect.andThen(add("a"), Effect.andThen(take, take)), ends))
          )
          expect(Exit.isSuccess(exit)).toBe(ending === "success")
          expect(yield* read(notes.query().count)).toBe(ending === "success" ? 1 : 0)
          expect(yield* counted(transactor)).toBe(2)
        })
      )
    }

    it("control: a charge that is written like rows is lost in a mutation that fails", () => {
      const { open } = RateLimits.transactional
      const naive = {
        ...RateLimits.transactional,
        open: (tx: Transactional.Tx) => open({ ...tx, outlive: (writes) => writes() })
      }
      const fails = Transactor.use((transactor) =>
        Effect.gen(function* () {
          yield* Effect.exit(transactor.write(Effect.andThen(take, Effect.fail("no"))))
          expect(yield* counted(transactor)).toBe(0)
        })
      )
      return under(Effect.provide(fails, Storage.layer({ tables: [notes], transactional: [naive] })))
    })

    inStorage(
      "A20: a charge in a part that is rolled back counts, once, for what follows in the mutation",
      (transactor) =>
        Effect.gen(function* () {
          const { read, write } = transactor
          const part = Effect.andThen(add("inner"), Effect.andThen(take, Effect.fail("no"))).pipe(
            Table.atomically,
            Effect.ignore
          )
          const nested = Effect.andThen(part, Effect.fail("no")).pipe(Table.atomically, Effect.ignore)
          const remaining = yield* write(
            Effect.gen(function* () {
              yield* take
              yield* part
              yield* nested
              yield* add("outer")
              return (yield* take).remaining
            })
          )
          expect(remaining).toBe(96)
          expect(yield* read(Effect.map(notes.query(), (rows) => rows.map(({ id }) => id)))).toEqual(["outer"])
          expect(yield* counted(transactor)).toBe(4)
          yield* Effect.exit(write(Effect.andThen(Effect.andThen(take, part), Effect.fail("no"))))
          expect(yield* counted(transactor)).toBe(6)
        })
    )

    inStorage("A20: a mutation beyond the limit fails with TooManyRequests, and rolls back", (transactor) =>
      Effect.gen(function* () {
        const { read, write } = transactor
        const post = (id: string) =>
          write(Effect.andThen(add(id), RateLimits.charge({ key: "bo", limit: 2, window: "1 minute" })))
        yield* post("a")
        // What fails for another reason counts as well.
        yield* Effect.exit(
          write(Effect.andThen(RateLimits.charge({ key: "bo", limit: 2, window: "1 minute" }), Effect.fail("no")))
        )
        expect(yield* Effect.flip(post("b"))).toMatchObject({
          _tag: "CallError",
          reason: { _tag: "TooManyRequests", retryAfter: 60_000 }
        })
        yield* TestClock.adjust("1 minute")
        yield* post("c")
        expect(yield* read(Effect.map(notes.query(), (rows) => rows.map(({ id }) => id)))).toEqual(["a", "c"])
      })
    )

    inStorage("A20: in a query a charge is a defect, and outside of a transaction as well", ({ read }, all) =>
      Effect.gen(function* () {
        expect(String(yield* Effect.exit(read(take)))).toMatch(/a query cannot charge a rate limit/)
        expect(all("SELECT count(*) FROM _dormouse_rate_limits", []).rows).toEqual([[0]])
      })
    )

    inStorage(
      "A20: expired limits are deleted by an index, a few by each new one, and a charge writes one row",
      ({ write }, all) =>
        Effect.gen(function* () {
          const by = (key: string) => write(RateLimits.charge({ key, limit: 2, window: "1 minute" }))
          const rows = () => Number(all("SELECT count(*) FROM _dormouse_rate_limits", []).rows[0]![0])
          for (let i = 0; i < 30; i++) yield* by(`old ${i}`)
          expect(rows()).toBe(30)
          yield* TestClock.adjust("3 minutes")
          const [sweep] = all("SELECT sweep FROM _dormouse_rate_limits LIMIT 1", []).rows[0]!
          expect(Number(sweep) % 60_000).toBe(0)
          for (const left of [23, 16, 9, 4, 5]) {
            yield* by(`new ${left}`)
            expect(rows()).toBe(left)
          }
          const plan = all(
            "EXPLAIN QUERY PLAN SELECT key, kind FROM _dormouse_rate_limits WHERE sweep < ? ORDER BY sweep LIMIT ?",
            [0, 8]
          ).rows
          expect(String(plan.map((row) => row[3]))).toMatch(
            /^SEARCH .* USING COVERING INDEX _dormouse_rate_limits_by_sweep/
          )
        })
    )

    inStorage("A20: a state that cannot be read is a typed error without its cause", ({ write }, all) =>
      Effect.gen(function* () {
        yield* write(take)
        all("UPDATE _dormouse_rate_limits SET state = 'secret'", [])
        const consume = RateLimiter.RateLimiter.use(({ consume }) =>
          consume({ key: "ada", limit: 9, window: "1 minute" })
        )
        const error = yield* Effect.flip(write(consume))
        expect(error).toMatchObject({ _tag: "RateLimiterError", reason: { _tag: "RateLimitStoreError" } })
        expect(JSON.stringify(error)).not.toContain("secret")
      })
    )
  })

/** The layer of one platform's database. */
export const withLayer =
  (layer: Layer.Layer<Database.Database>): RunWithDatabase =>
  (effect) =>
    Effect.runPromise(Effect.provide(effect, layer))
