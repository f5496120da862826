import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { ConnectionRefused } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { turns } from "../deployment/memory.ts"
import * as Sessions from "../worker/sessions.ts"

/** What a client does with its token: it replaces it in time, and says what went wrong. */

const backend = TestApp.layer(Sessions.app, {
  auth: Sessions.authOr(Auth.layerAnonymous),
  enter: Sessions.enter
})
const settled = Effect.promise(turns)
const tokenOf = (subject: string, expires: number | null) => Auth.testToken({ subject, expires })

/** Advances the clock in steps, in each of which everything that follows happens. */
const pass = (steps: number, millis: number) =>
  Effect.gen(function* () {
    for (let step = 0; step < steps; step++) {
      yield* TestClock.adjust(millis)
      yield* settled
    }
  })

/** Watches for whom a live query is computed. Returns what was shown, and the fiber. */
const watch = (client: Effect.Success<ReturnType<typeof connect>>) =>
  Effect.gen(function* () {
    const shown: Array<string | null> = []
    const live = client.live("who", {})
    const fiber = yield* Effect.forkChild(
      Stream.runForEach(live, ({ subject }) => Effect.sync(() => shown.push(subject)))
    )
    yield* settled
    return { shown, fiber }
  })
const connect = (token: string | Effect.Effect<string>) => TestApp.client(Sessions.SessionsApi, { token })

/** Counts the sockets that were opened. */
const countSockets = Effect.gen(function* () {
  const { network } = (yield* TestApp).object()
  const { open } = network
  const counted = { count: 0 }
  network.open = (...args) => {
    counted.count++
    return open.apply(network, args)
  }
  return counted
})

it.effect("A14: a token that is an effect is asked for again before it expires, and the socket stays open", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    let asked = 0
    const token = Effect.map(
      Effect.clockWith((clock) => clock.currentTimeMillis),
      (now) => {
        asked++
        return tokenOf("ada", now + 60_000)
      }
    )
    const { fiber, shown } = yield* watch(yield* connect(token))
    const other = yield* connect(tokenOf("bob", null))
    yield* pass(60, 10_000)
    yield* other.mutate("enter", {})
    yield* settled
    expect([sockets.count, shown]).toEqual([1, ["ada", "ada"]])
    expect(asked).toBeGreaterThan(600_000 / 60_000)
    expect(asked).toBeLessThan(20)
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.provide(backend))
)

it.effect("A14: a token that is a text is not replaced, and its socket is refused (the control)", () =>
  Effect.gen(function* () {
    const { fiber } = yield* watch(yield* connect(tokenOf("ada", 60_000)))
    const other = yield* connect(tokenOf("bob", null))
    yield* pass(7, 10_000)
    yield* other.mutate("enter", {})
    yield* settled
    expect(yield* Effect.flip(Fiber.join(fiber))).toEqual(
      new ConnectionRefused({ reason: "4401 unauthenticated: expired" })
    )
  }).pipe(Effect.provide(backend))
)

it.effect("A14: a refresh that fails is tried again while the old token lasts, and calls continue", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    let isBroken = false
    let failures = 0
    const token = Effect.flatMap(
      Effect.clockWith((clock) => clock.currentTimeMillis),
      (now) => {
        // The delays are random and grow: a third failure could be followed by one that the old token does not last.
        if (!isBroken || failures === 2) return Effect.succeed(tokenOf("ada", now + 60_000))
        failures++
        return Effect.die(new Error("no token"))
      }
    )
    const client = yield* connect(token)
    const { fiber, shown } = yield* watch(client)
    isBroken = true
    for (let second = 0; second < 59 && failures < 2; second++) {
      yield* pass(1, 1000)
      expect(yield* client.query("count", {})).toBe(0)
    }
    expect(failures).toBe(2)
    yield* pass(30, 1000)
    yield* client.mutate("enter", {})
    yield* settled
    expect([sockets.count, shown]).toEqual([1, ["ada", "ada"]])
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.provide(backend))
)

it.effect("A14: a socket that was closed because its token expired is reopened once with a fresh one", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    let isStuck = false
    const token = Effect.flatMap(
      Effect.clockWith((clock) => clock.currentTimeMillis),
      (now) => (isStuck ? Effect.never : Effect.succeed(tokenOf("ada", now + 60_000)))
    )
    const { fiber, shown } = yield* watch(yield* connect(token))
    const other = yield* connect(tokenOf("bob", null))
    isStuck = true
    yield* pass(7, 10_000)
    isStuck = false
    yield* other.mutate("enter", {})
    yield* pass(5, 1000)
    expect([sockets.count, shown]).toEqual([2, ["ada", "ada"]])
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.provide(backend))
)

it.effect("A14: a second expired token in a row is refused", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    const { fiber } = yield* watch(yield* connect(Effect.succeed(tokenOf("ada", 0))))
    yield* pass(10, 1000)
    expect(yield* Effect.flip(Fiber.join(fiber))).toEqual(
      new ConnectionRefused({ reason: "4401 unauthenticated: expired" })
    )
    expect(sockets.count).toBe(2)
  }).pipe(Effect.provide(backend))
)

it.effect("A14: a status 401 is typed, after one retry with a fresh token", () =>
  Effect.gen(function* () {
    const expired = tokenOf("ada", 0)
    let asked = 0
    const fresh = yield* connect(Effect.sync(() => (asked++ === 0 ? expired : tokenOf("ada", null))))
    expect(yield* fresh.query("who", {})).toEqual({ subject: "ada", entries: 0 })
    expect(asked).toBe(2)
    const unauthenticated = { _tag: "CallError", reason: { _tag: "Unauthenticated", problem: "expired" } }
    for (const token of [expired, Effect.succeed(expired)]) {
      const client = yield* connect(token)
      expect(yield* Effect.flip(client.query("who", {}))).toMatchObject(unauthenticated)
      expect(yield* Effect.flip(client.mutate("enter", {}))).toMatchObject(unauthenticated)
    }
    // The object refuses what the Worker does not know.
    yield* fresh.mutate("revoke", { subject: "ada" })
    const revoked = { reason: { _tag: "Unauthenticated", problem: "revoked" } }
    expect(yield* Effect.flip(fresh.query("who", {}))).toMatchObject(revoked)
  }).pipe(Effect.provide(backend))
)

it.effect("A14: refresh signs in and out over the open socket", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    let token = tokenOf("ada", null)
    const client = yield* connect(Effect.sync(() => token))
    expect(yield* client.refresh).toBe(true)
    const { fiber, shown } = yield* watch(client)
    token = tokenOf("bob", null)
    expect(yield* client.refresh).toBe(true)
    yield* settled
    expect(shown).toEqual(["ada", "bob"])
    token = "nonsense"
    expect(yield* client.refresh).toBe(false)
    expect(yield* client.query("who", {})).toMatchObject({ subject: "bob" })
    expect(sockets.count).toBe(1)
    expect(Exit.isExit(fiber.pollUnsafe())).toBe(false)
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.provide(backend))
)
