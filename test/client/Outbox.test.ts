import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
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
  identity?: string,
  options: Partial<Outbox.OutboxOptions> = {}
) {
  const { transport, url } = yield* TestApp
  const scope = yield* Scope.make()
  const client = yield* Client.make(ChatApi, {
    url,
    outbox: Outbox.make({ ...options, storage, ...(identity === undefined ? {} : { identity }) })
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

type Storage = Context.Service.Shape<typeof Outbox.OutboxStorage>

/** A storage that refuses some of its uses, as a browser's does when it is blocked or full. */
const refusing = (storage: Storage) => {
  const refused = new Set<keyof Storage | "mark">()
  const unless = <A, R>(name: keyof Storage | "mark", use: Effect.Effect<A, never, R>) =>
    Effect.suspend(() => (refused.has(name) ? Effect.die(new DOMException("full", "QuotaExceededError")) : use))
  const flaky: Storage = {
    put: (entry) => unless(entry.sentAt === null ? "put" : "mark", storage.put(entry)),
    remove: (id) => unless("remove", storage.remove(id)),
    entries: unless("entries", storage.entries),
    claim: (client) => unless("claim", storage.claim(client))
  }
  return { flaky, refused }
}

const channelsOf = (client: Client.Client<any>) =>
  Effect.map(client.query("channels.list" as never, {} as never), (rows: any) => rows.map(({ name }: any) => name))

const warnings: Array<string> = []
const quiet = Logger.layer([Logger.map(Logger.formatJson, (line) => void warnings.push(line))])

it.effect("C12: a mutation that the storage refuses is sent all the same, now or when the network is back", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const { flaky, refused } = refusing(yield* storageOf)
    for (const use of ["put", "mark", "remove", "entries", "claim"] as const) refused.add(use)
    const { set, status } = device()
    const unstored: Array<unknown> = []
    const onUnstored = (entry: unknown) => Effect.sync(() => void unstored.push(entry))
    const { client } = yield* page(flaky, status, undefined, { onUnstored })
    expect((yield* client.mutate("channels.create", { name: "online" })).name).toBe("online")
    expect((yield* Effect.flip(client.mutate("channels.create", { name: "online" })))._tag).toBe("ChannelExists")
    set(false)
    object().network.offline()
    const waiting = yield* client
      .mutate("channels.create", { name: "offline" })
      .pipe(Effect.forkChild({ startImmediately: true }))
    yield* calm
    set(true)
    object().network.online()
    yield* calm
    yield* TestClock.adjust("30 seconds")
    expect((yield* Fiber.join(waiting)).name).toBe("offline")
    expect(unstored).toEqual(
      ["online", "online", "offline"].map((name) => ({ tag: "channels.create", payload: { name } }))
    )
    expect(warnings.join()).toContain("the outbox could not store a mutation")
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a storage that recovers is read when the device wakes", () =>
  Effect.gen(function* () {
    const { flaky, refused } = refusing(yield* storageOf)
    const { set, status } = device()
    set(false)
    const first = yield* page(flaky, status)
    yield* first.client.mutate("channels.create", { name: "left" }).pipe(Effect.forkDetach({ startImmediately: true }))
    yield* calm
    yield* first.close
    refused.add("entries")
    set(true)
    const { client } = yield* page(flaky, status)
    yield* calm
    expect(yield* channelsOf(client)).toEqual([])
    refused.clear()
    set(true)
    yield* calm
    expect(yield* channelsOf(client)).toEqual(["left"])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a mutation whose sending cannot be recorded leaves the storage before it is sent, or is not sent", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const { flaky, refused } = refusing(storage)
    const { status } = device()
    const unstored: Array<unknown> = []
    const onUnstored = (entry: unknown) => Effect.sync(() => void unstored.push(entry))
    const { client, close } = yield* page(flaky, status, undefined, { onUnstored })
    refused.add("mark")
    expect((yield* client.mutate("channels.create", { name: "unmarked" })).name).toBe("unmarked")
    expect([unstored.length, (yield* storage.entries).length]).toEqual([1, 0])
    refused.add("remove")
    expect((yield* Effect.flip(client.mutate("channels.create", { name: "stuck" })))._tag).toBe("OutcomeUnknown")
    expect([yield* channelsOf(client), (yield* storage.entries).length]).toEqual([["unmarked"], 1])
    yield* close
    // The next page sends it, once.
    refused.clear()
    const next = yield* page(flaky, status)
    yield* calm
    expect([yield* channelsOf(next.client), (yield* storage.entries).length]).toEqual([["stuck", "unmarked"].sort(), 0])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a mutation that cannot be removed has its outcome, and the next page does not run it again", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const { flaky, refused } = refusing(storage)
    const { status } = device()
    const { client, close } = yield* page(flaky, status)
    refused.add("remove")
    expect((yield* client.mutate("channels.create", { name: "kept" })).name).toBe("kept")
    expect((yield* storage.entries).length).toBe(1)
    yield* close
    refused.clear()
    const replayed: Array<Outbox.Replayed> = []
    const onReplayed = (entry: Outbox.Replayed) => Effect.sync(() => void replayed.push(entry))
    const next = yield* page(flaky, status, undefined, { onReplayed })
    yield* calm
    expect(replayed).toMatchObject([{ exit: { _tag: "Success", value: { name: "kept" } } }])
    expect([yield* channelsOf(next.client), (yield* storage.entries).length]).toEqual([["kept"], 0])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)
