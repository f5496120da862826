import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Client, DeviceStatus, Outbox } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { ChatApi } from "../../examples/chat/api.ts"
import { app } from "../../examples/chat/app.ts"

/** A device whose network the test controls. */
const device = () => {
  const listeners = new Set<(event: "offline" | "wake") => void>()
  let isOnline = true
  return {
    status: {
      isOnline: () => isOnline,
      listen: (listener: (event: "offline" | "wake") => void) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      }
    } satisfies DeviceStatus,
    set: (online: boolean) => {
      isOnline = online
      for (const listener of [...listeners]) listener(online ? "wake" : "offline")
    }
  }
}

const calm = Effect.promise(async () => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
})

/** A page: a client with an outbox, until it is closed. */
const page = Effect.fnUntraced(function* (
  storage: Context.Service.Shape<typeof Outbox.OutboxStorage>,
  status: DeviceStatus,
  identity?: string
) {
  const { transport, url } = yield* TestApp
  const scope = yield* Scope.make()
  const client = yield* Client.make(ChatApi, {
    url,
    outbox: Outbox.make({ storage, ...(identity === undefined ? {} : { identity }) })
  }).pipe(
    Effect.provideContext(yield* Layer.build(transport)),
    Effect.provideService(DeviceStatus, status),
    Scope.provide(scope)
  )
  return { client, close: Scope.close(scope, Exit.void) }
})

const storageOf = Effect.map(Layer.build(Outbox.layerMemory), (context) => Context.get(context, Outbox.OutboxStorage))

it.effect("C12: mutations that an offline page stored are sent once and in order by the next page", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const storage = yield* storageOf
    const { set, status } = device()
    const first = yield* page(storage, status)
    const channel = yield* first.client.mutate("channels.create", { name: "general" })
    expect(yield* storage.entries).toEqual([])

    set(false)
    object().network.offline()
    for (const body of ["one", "two", "three"]) {
      yield* first.client
        .mutate("messages.send", { channel: channel.id, author: "ada", body })
        .pipe(Effect.forkDetach({ startImmediately: true }))
    }
    yield* calm
    expect((yield* storage.entries).map(({ sentAt }) => sentAt)).toEqual([null, null, null])
    yield* first.close
    expect((yield* storage.entries).length).toBe(3)

    set(true)
    object().network.online()
    // Two pages are open at the same time; either may find the entries of the first.
    const second = yield* page(storage, status)
    const third = yield* page(storage, status)
    yield* calm
    yield* TestClock.adjust("30 seconds")
    yield* calm
    expect(yield* storage.entries).toEqual([])
    const rows = yield* second.client.query("messages.list", { channel: channel.id, limit: 10 })
    expect(rows.map(({ body }) => body)).toEqual(["three", "two", "one"])
    yield* second.close
    yield* third.close
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("C12: mutations of one identity are not sent with the token of another", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const { set, status } = device()
    const ada = yield* page(storage, status, "ada")
    set(false)
    yield* ada.client.mutate("channels.create", { name: "hers" }).pipe(Effect.forkDetach({ startImmediately: true }))
    yield* calm
    yield* ada.close
    set(true)
    const bob = yield* page(storage, status, "bob")
    yield* calm
    expect((yield* storage.entries).length).toBe(1)
    expect(yield* bob.client.query("channels.list", {})).toEqual([])
    yield* page(storage, status, "ada")
    yield* calm
    expect((yield* bob.client.query("channels.list", {})).map(({ name }) => name)).toEqual(["hers"])
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("C12: a mutation that was first sent longer ago than outcomes are kept is not sent again", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const { status } = device()
    yield* storage.put({
      id: "11111111-aaaa/0",
      client: "11111111-aaaa",
      owner: "http://dormouse.test main ",
      tag: "channels.create",
      payload: { name: "old" },
      at: 0,
      sentAt: 0
    })
    yield* TestClock.adjust("25 hours")
    const { client } = yield* page(storage, status)
    yield* calm
    expect(yield* storage.entries).toEqual([])
    expect(yield* client.query("channels.list", {})).toEqual([])
    const late = yield* client.mutate("channels.create", { name: "new" }).pipe(Effect.forkChild)
    expect((yield* Fiber.join(late)).name).toBe("new")
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it.effect("C7 C12: what a later page may send is not settled, however many mutations follow", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const storage = yield* storageOf
    const { set, status } = device()
    const first = yield* page(storage, status)
    yield* first.client.mutate("channels.create", { name: "first" })
    set(false)
    const kept = yield* first.client
      .mutate("channels.create", { name: "kept" })
      .pipe(Effect.forkDetach({ startImmediately: true }))
    yield* calm
    yield* Fiber.interrupt(kept)
    set(true)
    for (const name of ["second", "third"]) yield* first.client.mutate("channels.create", { name })
    const [entry] = yield* storage.entries
    expect(entry).toMatchObject({ payload: { name: "kept" } })
    const numbers = () =>
      object()
        .database.prepare("SELECT number, below FROM _dormouse_mutations ORDER BY number")
        .all()
        .map(({ below, number }) => [number, below])
    expect(numbers()).toEqual([
      [2, 1],
      [3, 1]
    ])
    yield* first.close
    const second = yield* page(storage, status)
    yield* calm
    yield* TestClock.adjust("30 seconds")
    yield* calm
    expect(yield* storage.entries).toEqual([])
    const names = (yield* second.client.query("channels.list", {})).map(({ name }) => name)
    expect([...names].sort()).toEqual(["first", "kept", "second", "third"])
    yield* second.close
  }).pipe(Effect.provide(TestApp.layer(app)))
)
