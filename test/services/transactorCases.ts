import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { type Database, Storage, Table, type Transactional, Transactor } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import { Ledger, ledger, receipts } from "../worker/ledger.ts"

class Item extends Model.Class<Item>("test/Item")({
  id: Schema.String,
  list: Schema.String,
  n: Schema.Int
}) {}
const items = Table.make("items", Item, { key: "id", indexes: { byList: ["list", "n"] } })

/** A service of the author's own that is not Dormouse's. */
class Factor extends Context.Service<Factor, number>()("test/Factor") {}

/** Runs an effect over a new, empty database of one platform. */
export type RunWithDatabase = (effect: Effect.Effect<void, unknown, Database.Database>) => Promise<void>

const list = (name: string) => items.query("byList").eq("list", name)
const numbers = (name: string) => Effect.map(list(name), (rows) => rows.map(({ n }) => n))
const put = (id: string, list: string, n: number) => items.upsert({ id, list, n })

/** The `Transactor` of `Storage.layer`, over any layer of `Database`. */
export const suite = (name: string, run: RunWithDatabase) =>
  describe(`R1: ${name}`, () => {
    const over = <T extends ReadonlyArray<Transactional.Transactional<any, any>> = readonly []>(
      options: Partial<Storage.StorageOptions<T>>,
      body: Effect.Effect<void, unknown, Transactor | Transactional.Identifier<T[number]>>
    ) => Effect.provide(body, Storage.layer({ tables: [items], ...options }))
    const test = <const T extends ReadonlyArray<Transactional.Transactional<any, any>> = readonly []>(
      title: string,
      body: (transactor: Transactor["Service"]) => Effect.Effect<void, unknown, Transactional.Identifier<T[number]>>,
      options: Partial<Storage.StorageOptions<T>> = {}
    ) => it(title, () => run(over(options, Effect.flatMap(Transactor, body))))

    test("T1: a write that fails, dies or waits leaves nothing", ({ read, write }) =>
      Effect.gen(function* () {
        yield* write(put("a", "x", 1))
        const failed = yield* Effect.exit(write(Effect.andThen(put("b", "x", 2), Effect.fail("no"))))
        expect(failed).toEqual(Exit.fail("no"))
        const died = yield* Effect.exit(write(Effect.andThen(put("b", "x", 2), Effect.die("no"))))
        expect(died).toEqual(Exit.die("no"))
        const waited = yield* Effect.exit(write(Effect.andThen(put("b", "x", 2), Effect.sleep(1))))
        expect(String(waited)).toMatch(/waited for something/)
        expect(yield* read(numbers("x"))).toEqual([1])
      }))

    test("a write gives what its effect gives, and reads see it", ({ read, write }) =>
      Effect.gen(function* () {
        const row = yield* write(put("a", "x", 1))
        expect(row).toBeInstanceOf(Item)
        expect(yield* read(items.get("a"))).toEqual(row)
        expect(
          yield* read(Effect.orDie(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT n FROM items`)))
        ).toEqual([{ n: 1 }])
      }))

    test("effects keep the services of the author's own", ({ read, write }) =>
      Effect.gen(function* () {
        const factor = 3
        yield* write(Effect.flatMap(Factor, (n) => put("a", "x", n)))
        expect(yield* read(Effect.flatMap(Factor, (n) => Effect.map(numbers("x"), ([first]) => first! * n)))).toBe(9)
        expect(factor).toBe(3)
      }).pipe(Effect.provideService(Factor, 3)))

    test("K1: a read cannot write by raw SQL", ({ read }) =>
      Effect.gen(function* () {
        const sql = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`DELETE FROM items`)
        expect(Exit.isFailure(yield* Effect.exit(read(sql)))).toBe(true)
      }))

    test("ST17: what SQL defers with afterCommit runs after the commit, and not if it is rolled back", ({
      read,
      write
    }) =>
      Effect.gen(function* () {
        const ran: Array<string> = []
        const sql = SqlClient.SqlClient
        const later = (name: string) => sql.use((sql) => sql.afterCommit(Effect.sync(() => void ran.push(name))))
        const during = yield* write(
          Effect.gen(function* () {
            const { withTransaction } = yield* sql
            yield* later("first")
            yield* Effect.exit(withTransaction(Effect.andThen(later("nested"), Effect.fail("no"))))
            return [...ran]
          })
        )
        expect(during).toEqual([])
        yield* Effect.exit(write(Effect.andThen(later("failed"), Effect.fail("no"))))
        const refused = yield* Effect.exit(read(later("query")))
        expect(String(refused)).toMatch(/a query has no commit/)
        // It may wait, and has the services of the handler.
        const waiting = Effect.sleep(1).pipe(
          Effect.andThen(Factor),
          Effect.flatMap((factor) => Effect.sync(() => void ran.push(`last ${factor}`)))
        )
        yield* write(sql.use((sql) => sql.afterCommit(waiting)))
        yield* Effect.promise(() => expect.poll(() => ran).toEqual(["first", "last 3"]))
      }).pipe(Effect.provideService(Factor, 3)))

    test("a live result comes now and after each commit that wrote what was read", ({ live, write }) =>
      Effect.gen(function* () {
        yield* write(put("a", "x", 1))
        const seen = yield* Queue.unbounded<ReadonlyArray<number>>()
        const fiber = yield* live(numbers("x")).pipe(
          Stream.runForEach((value) => Queue.offer(seen, value)),
          Effect.forkChild
        )
        expect(yield* Queue.take(seen)).toEqual([1])
        yield* write(put("b", "x", 2))
        expect(yield* Queue.take(seen)).toEqual([1, 2])
        // Other rows, equal rows, and rolled back ones.
        yield* write(put("c", "y", 3))
        yield* write(put("b", "x", 2))
        yield* Effect.exit(write(Effect.andThen(put("d", "x", 4), Effect.fail("no"))))
        yield* write(put("e", "x", 5))
        expect(yield* Queue.take(seen)).toEqual([1, 2, 5])
        yield* Fiber.interrupt(fiber)
        yield* write(put("f", "x", 6))
        yield* turns
        expect(yield* Queue.size(seen)).toBe(0)
      }))

    test("a live result is run once for the commits of one turn, and a slow reader gets the newest", ({
      live,
      write
    }) =>
      Effect.gen(function* () {
        let runs = 0
        const counted = Effect.tap(numbers("x"), () => Effect.sync(() => runs++))
        const seen: Array<ReadonlyArray<number>> = []
        const fiber = yield* live(counted).pipe(
          Stream.runForEach((value) =>
            Effect.andThen(
              Effect.sync(() => seen.push(value)),
              turns
            )
          ),
          Effect.forkChild
        )
        yield* turns
        for (let n = 0; n < 10; n++) yield* write(put(String(n), "x", n))
        yield* turns
        yield* turns
        yield* turns
        expect(seen[0]).toEqual([])
        expect(seen.at(-1)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        expect(seen.length).toBeLessThan(5)
        expect(runs).toBeLessThan(5)
        yield* Fiber.interrupt(fiber)
      }))

    test("a live result that fails ends the stream with its failure", ({ live, write }) =>
      Effect.gen(function* () {
        const first = Effect.flatMap(numbers("x"), (all) =>
          all.length > 0 ? Effect.fail("too many") : Effect.succeed(0)
        )
        const ended = yield* live(first).pipe(
          Stream.tap(() => write(put("a", "x", 1))),
          Stream.runDrain,
          Effect.exit
        )
        expect(ended).toEqual(Exit.fail("too many"))
      }))

    test("commits say what was written", ({ commits, write }) =>
      Effect.gen(function* () {
        const seen = yield* commits.pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
        yield* turns
        yield* write(put("a", "x", 1))
        yield* Effect.exit(write(Effect.andThen(put("b", "x", 1), Effect.fail("no"))))
        yield* write(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`DELETE FROM items`))
        const [first, second] = yield* Fiber.join(seen)
        expect([...first!.rowTables]).toEqual(["items"])
        expect([...second!.rawTables]).toEqual(["items"])
      }))

    test(
      "T7: services take part in its transactions",
      ({ live, read, write }) =>
        Effect.gen(function* () {
          const pay = (amount: number) => Effect.flatMap(Ledger, (ledger) => ledger.pay("transactor", amount))
          const total = Effect.flatMap(Ledger, (ledger) => ledger.total("transactor"))
          receipts.length = 0
          const seen = yield* live(total).pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
          yield* turns
          yield* Effect.exit(write(Effect.andThen(pay(1), Effect.fail("no"))))
          yield* write(pay(2))
          yield* turns
          expect(yield* read(total)).toBe(2)
          expect(receipts).toEqual(["transactor: 2"])
          expect(yield* Fiber.join(seen)).toEqual([0, 2])
          const outside = yield* Effect.exit(total)
          expect(String(outside)).toMatch(/Ledger.total was used outside of a transaction/)
        }),
      { transactional: [ledger] }
    )

    it("ST21: a database that cannot become what the tables declare is refused, typed", () =>
      run(
        Effect.gen(function* () {
          yield* over(
            {},
            Effect.flatMap(Transactor, ({ write }) => write(put("a", "x", 1)))
          )
          class Other extends Model.Class<Other>("test/Item")({ id: Schema.Int, n: Schema.Int }) {}
          const others = Table.make("items", Other, { key: "id" })
          const refused = yield* Effect.flip(over({ tables: [others] }, Effect.void))
          expect(refused).toBeInstanceOf(Storage.SchemaMismatch)
          yield* over(
            {},
            Effect.flatMap(Transactor, ({ read }) =>
              Effect.map(read(numbers("x")), (rows) => expect(rows).toEqual([1]))
            )
          )
        })
      ))

    test(
      "ST19: limits are those of the layer",
      ({ write }) =>
        Effect.gen(function* () {
          const many = Array.from({ length: 4 }, (_, n) => ({ id: String(n), list: "x", n }))
          const refused = yield* Effect.flip(write(items.insertMany(many)))
          expect(refused).toMatchObject({ reason: { _tag: "StorageLimit", limit: "rowsWritten", max: 3 } })
        }),
      { limits: { rowsWritten: 3 } }
    )
  })

/** Some turns of the event loop, on any platform. */
const turns = Effect.promise(async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0))
})

/** The layer of one platform's database. */
export const withLayer =
  (layer: Layer.Layer<Database.Database>): RunWithDatabase =>
  (effect) =>
    Effect.runPromise(Effect.provide(effect, layer))
