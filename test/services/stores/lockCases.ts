import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database, Locks, Storage, Transactor } from "effect-dormouse/storage"
import { describe, expect, it } from "vitest"
import { forAllAsync, type Random, Violation } from "../../random.ts"
import type { RunWithDatabase } from "./persistedQueueCases.ts"

const storage = Storage.layer({ tables: [], transactional: [Locks.transactional] })

/** Locks whose operations are mutations of their own. */
const inMutations = Layer.effect(
  Locks.Locks,
  Effect.gen(function* () {
    const { write } = yield* Transactor
    const outside = yield* Locks.Locks
    const run = <A, E>(use: (locks: Locks.Locks["Service"]) => Effect.Effect<A, E>) =>
      Effect.provideService(write(Effect.flatMap(Locks.Locks, use)), Locks.Locks, outside)
    return {
      acquire: (name, options) => run((locks) => locks.acquire(name, options)),
      renew: (lease, options) => run((locks) => locks.renew(lease, options)),
      release: (lease) => run((locks) => locks.release(lease)),
      canWait: false
    }
  })
).pipe(Layer.provide(storage))

const layers = { "over a database": Locks.layer, "in mutations": inMutations }

/** Random histories of acquisitions, renewals and releases, compared with a model. */
const compare = (random: Random, locks: Locks.Locks["Service"]) =>
  Effect.gen(function* () {
    const held = new Map<string, { token: number; expires: number }>()
    const leases: Array<Locks.Lease> = []
    let lastToken = 0
    let now = 0
    const check = (step: number, what: string, actual: unknown, expected: unknown) => {
      if (JSON.stringify(actual) !== JSON.stringify(expected))
        throw new Violation(`step ${step}: ${what} gave ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
    }
    for (let step = 0; step < 200; step++) {
      const name = random.pick(["", "a", "b", "👋"])
      const duration = 1 + random.int(2000)
      const lease = leases.length > 0 ? random.pick(leases) : undefined
      const holds = (of: Locks.Lease) => {
        const holder = held.get(of.name)
        return holder !== undefined && holder.token === of.token && holder.expires > now
      }
      const kind = random.int(10)
      if (kind < 4) {
        const exit = yield* Effect.exit(locks.acquire(name, { duration }))
        const holder = held.get(name)
        if (holder !== undefined && holder.expires > now) {
          const error = yield* Effect.flip(exit)
          check(step, "acquire", [error._tag, error.retryAfter], ["LockHeld", holder.expires - now])
        } else {
          const acquired = yield* exit
          if (acquired.token <= lastToken)
            throw new Violation(`step ${step}: token ${acquired.token} after ${lastToken}`)
          lastToken = acquired.token
          check(step, "acquire", acquired, { name, token: lastToken, expires: now + duration })
          held.set(name, acquired)
          leases.push(acquired)
        }
      } else if (kind < 6 && lease !== undefined) {
        const exit = yield* Effect.exit(locks.renew(lease, { duration }))
        check(step, "renew", Exit.isSuccess(exit), holds(lease))
        if (Exit.isSuccess(exit)) {
          check(step, "renew", exit.value, { name: lease.name, token: lease.token, expires: now + duration })
          held.set(lease.name, exit.value)
        }
      } else if (kind < 8 && lease !== undefined) {
        check(step, "release", yield* locks.release(lease), holds(lease))
        if (holds(lease)) held.delete(lease.name)
      } else {
        const millis = random.int(1500)
        yield* TestClock.adjust(millis)
        now += millis
      }
    }
  })

export const suite = (platform: string, run: RunWithDatabase) =>
  describe(`locks ${platform}`, () => {
    const under = (body: Effect.Effect<void, unknown, Database.Database | Scope.Scope>) =>
      run(Effect.provide(Effect.scoped(body), TestClock.layer()))
    const minute = { duration: "1 minute" } as const

    for (const [name, layer] of Object.entries(layers)) {
      it(`O14: ${name}: a lock has one holder, until it is released or its lease ends`, () =>
        under(
          Effect.gen(function* () {
            const first = yield* Locks.acquire("a", minute)
            yield* TestClock.adjust("20 seconds")
            expect(yield* Effect.flip(Locks.acquire("a", minute))).toMatchObject({
              _tag: "LockHeld",
              retryAfter: 40_000
            })
            const renewed = yield* Locks.renew(first, minute)
            expect(renewed).toEqual({ ...first, expires: 80_000 })
            yield* TestClock.adjust("1 minute")
            expect(yield* Effect.flip(Locks.renew(renewed, minute))).toMatchObject({ _tag: "LockLost" })
            const second = yield* Locks.acquire("a", minute)
            expect(second.token).toBeGreaterThan(first.token)
            expect(yield* Locks.release(first)).toBe(false)
            expect(yield* Effect.flip(Locks.acquire("a", minute))).toMatchObject({ _tag: "LockHeld" })
            expect(yield* Locks.release(second)).toBe(true)
            expect((yield* Locks.acquire("a", minute)).token).toBeGreaterThan(second.token)
            for (const duration of [0, Number.POSITIVE_INFINITY]) {
              expect(String(yield* Effect.exit(Locks.acquire("b", { duration })))).toContain("duration of a lock")
            }
          }).pipe(Effect.provide(layer))
        ))

      it(`O14: ${name}: random histories are those of a model`, () =>
        forAllAsync(4, (random) =>
          under(Locks.Locks.use((locks) => compare(random, locks)).pipe(Effect.provide(layer)))
        ))
    }

    it("control: locks that can be released by whoever held them before are found", () =>
      expect(
        forAllAsync(4, (random) =>
          under(
            Effect.gen(function* () {
              const { all } = yield* Database.Database
              const locks = yield* Locks.Locks
              yield* compare(random, {
                ...locks,
                release: ({ name }) =>
                  Effect.sync(
                    () => all("DELETE FROM _dormouse_locks WHERE name = ? RETURNING 1", [name]).rows.length > 0
                  )
              })
            }).pipe(Effect.provide(Locks.layer))
          )
        )
      ).rejects.toBeInstanceOf(Violation))

    it("O14: leases that ended are deleted with later ones, and their tokens are not used again", () =>
      under(
        Effect.gen(function* () {
          const { all } = yield* Database.Database
          const rows = () => Number(all("SELECT count(*) FROM _dormouse_locks", []).rows[0]![0])
          for (let i = 0; i < 20; i++) yield* Locks.acquire(`old ${i}`, minute)
          yield* TestClock.adjust("1 minute")
          for (const left of [13, 6, 1]) {
            const { token } = yield* Locks.acquire(`new ${left}`, { duration: left === 1 ? 1 : 0.5 })
            expect(token).toBeGreaterThan(20)
            yield* TestClock.adjust(1)
            expect(rows()).toBe(left)
          }
        }).pipe(Effect.provide(Locks.layer))
      ))

    it("O14: a lock that a mutation acquires is held when it commits; a query cannot hold one", () =>
      under(
        Effect.gen(function* () {
          const { read, write } = yield* Transactor
          yield* Effect.exit(write(Effect.andThen(Locks.acquire("a", minute), Effect.fail("no"))))
          const lease = yield* write(Locks.acquire("a", minute))
          yield* Effect.exit(write(Effect.andThen(Locks.release(lease), Effect.fail("no"))))
          expect(yield* Effect.flip(write(Locks.acquire("a", minute)))).toMatchObject({ _tag: "LockHeld" })
          expect(String(yield* Effect.exit(read(Locks.acquire("b", minute))))).toContain("a query cannot hold a lock")
          expect(String(yield* Effect.exit(write(Locks.withLock("b", minute)(Effect.void))))).toContain(
            "withLock waits"
          )
        }).pipe(Effect.provide(storage))
      ))

    it("O15: withLock renews while the effect runs, and releases when it ends, however it ends", () =>
      under(
        Effect.gen(function* () {
          const long = yield* Effect.forkChild(
            Locks.withLock("a", minute)((lease) => Effect.as(Effect.sleep("1 hour"), lease.token))
          )
          yield* TestClock.adjust("59 minutes")
          expect(yield* Effect.flip(Locks.withLock("a", minute)(Effect.void))).toMatchObject({ _tag: "LockHeld" })
          yield* TestClock.adjust("1 minute")
          expect(yield* Fiber.join(long)).toBe(1)
          for (const end of [Effect.void, Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
            yield* Effect.exit(Locks.withLock("a", minute)(end))
            yield* Locks.release(yield* Locks.acquire("a", minute))
          }
          const cut = yield* Effect.forkChild(Locks.withLock("a", minute)(Effect.never))
          yield* TestClock.adjust(0)
          yield* Fiber.interrupt(cut)
          yield* Locks.acquire("a", minute)
        }).pipe(Effect.provide(Locks.layer))
      ))

    it("O15: withLock interrupts the effect when the lease is lost, and leaves the next holder's alone", () =>
      under(
        Effect.gen(function* () {
          const { all } = yield* Database.Database
          const ends: Array<string> = []
          const fiber = yield* Effect.forkChild(
            Locks.withLock(
              "a",
              minute
            )(Effect.onInterrupt(Effect.never, () => Effect.sync(() => ends.push("interrupted"))))
          )
          yield* TestClock.adjust("10 seconds")
          // As after a pause of the process that was longer than the lease.
          all("UPDATE _dormouse_locks SET expires = 0", [])
          const next = yield* Locks.acquire("a", minute)
          expect(ends).toEqual([])
          yield* TestClock.adjust("10 seconds")
          expect(ends).toEqual(["interrupted"])
          expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({ _tag: "LockLost", name: "a" })
          expect(yield* Locks.release(next)).toBe(true)
        }).pipe(Effect.provide(Locks.layer))
      ))
  })
