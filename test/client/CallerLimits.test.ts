import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Client, Outbox, OutcomeUnknown } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { Fetch } from "../../src/client/Transport.ts"
import { DoorsApi, doors } from "../worker/doors.ts"

const backend = TestApp.layer(doors({ callsPerIdentity: { limit: 1, window: "1 minute" } }), {
  identity: { subject: "ada", claims: {} }
})

/** A client, whose `fetch` a test changes. */
const clientWith = (change: (fetch: typeof Fetch.Service) => typeof Fetch.Service, outbox?: Outbox.Outbox) =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const built = yield* Layer.build(transport)
    const fetch = change(Context.get(built, Fetch))
    return yield* Client.make(DoorsApi, { url, ...(outbox && { outbox }) }).pipe(
      Effect.provideService(Fetch, fetch),
      Effect.provideContext(built)
    )
  })

const visit = { by: "ada" }

it.effect("A21: a call that was refused fails with TooManyRequests, and is not repeated", () =>
  Effect.gen(function* () {
    let requests = 0
    const client = yield* clientWith((fetch) => (...args) => {
      requests++
      return fetch(...args)
    })
    yield* client.mutate("visit", visit)
    for (const call of [client.mutate("visit", visit), client.query("visits", {})]) {
      const before = requests
      expect(yield* Effect.flip(call)).toMatchObject({ reason: { _tag: "TooManyRequests", retryAfter: 60_000 } })
      expect(requests).toBe(before + 1)
    }
  }).pipe(Effect.scoped, Effect.provide(backend))
)

it.effect("A21, C12: a mutation in an outbox waits and runs once", () =>
  Effect.gen(function* () {
    const waiting: Array<string> = []
    const storage = Context.get(yield* Layer.build(Outbox.layerMemory), Outbox.OutboxStorage)
    const onWaiting = ({ reason }: { readonly reason: string }) => Effect.sync(() => void waiting.push(reason))
    const client = yield* clientWith((fetch) => fetch, Outbox.make({ storage, onWaiting }))
    yield* client.mutate("visit", visit)
    const second = yield* Effect.forkChild(client.mutate("visit", visit))
    for (let i = 0; i < 200 && second.pollUnsafe() === undefined; i++) {
      yield* TestClock.adjust("1 second")
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    yield* Fiber.join(second)
    expect(waiting.join()).toContain("TooManyRequests")
    yield* TestClock.adjust("2 minutes")
    expect(yield* client.query("visits", {})).toBe(2)
  }).pipe(Effect.scoped, Effect.provide(backend))
)

it.effect("A21, C9: a mutation whose first copy may have run is OutcomeUnknown when its second is refused", () =>
  Effect.gen(function* () {
    let isFirst = true
    const client = yield* clientWith((fetch) => async (...args) => {
      const response = await fetch(...args)
      if (!isFirst) return response
      isFirst = false
      throw new TypeError("the answer was lost")
    })
    const sent = yield* Effect.forkChild(Effect.flip(client.mutate("visit", visit)))
    while (sent.pollUnsafe() === undefined) {
      yield* TestClock.adjust("100 millis")
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    expect(yield* Fiber.join(sent)).toBeInstanceOf(OutcomeUnknown)
    yield* TestClock.adjust("2 minutes")
    expect(yield* client.query("visits", {})).toBe(1)
  }).pipe(Effect.scoped, Effect.provide(backend))
)
