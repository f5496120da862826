import { expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { Client, DeviceStatus, Outbox, OutcomePending } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { vi } from "vitest"
import { ChatApi } from "../../examples/minimal/api.ts"
import { app } from "../../examples/minimal/app.ts"
import { Fetch } from "../../src/client/Transport.ts"
import { expectRetries, fixedRandom } from "./fakeServer.ts"

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
  options: Partial<Outbox.OutboxOptions> = {},
  device: { readonly fetch?: Context.Service.Shape<typeof Fetch>; readonly clock?: Clock.Clock } = {}
) {
  const { transport, url } = yield* TestApp
  const scope = yield* Scope.make()
  const built = yield* Layer.build(transport)
  const client = yield* Client.make(ChatApi, {
    url,
    outbox: Outbox.make({ ...options, storage, ...(identity === undefined ? {} : { identity }) })
  }).pipe(
    Effect.provideService(Fetch, device.fetch ?? Context.get(built, Fetch)),
    Effect.provideContext(built),
    Effect.provideService(DeviceStatus, status),
    Effect.provideService(Clock.Clock, device.clock ?? (yield* Clock.Clock)),
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
    expect((yield* storage.entries).map(({ sentAfter }) => sentAfter)).toEqual([null, null, null])
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

it.effect("C12: a mutation that was first sent longer ago than outcomes are kept does not run again", () =>
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
      sentAfter: 0
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
    put: (entry) => unless(entry.sentAfter === null ? "put" : "mark", storage.put(entry)),
    remove: (id) => unless("remove", storage.remove(id)),
    entries: unless("entries", storage.entries),
    claim: (client) => unless("claim", storage.claim(client)),
    closed: storage.closed
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

it.effect("C7 C12: what a later page may send is not settled, however many mutations follow", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const { flaky, refused } = refusing(yield* storageOf)
    const { status } = device()
    const first = yield* page(flaky, status)
    yield* first.client.mutate("channels.create", { name: "first" })
    // It is done, and stays in the storage.
    refused.add("remove")
    yield* first.client.mutate("channels.create", { name: "kept" })
    refused.clear()
    for (const name of ["second", "third"]) yield* first.client.mutate("channels.create", { name })
    const [entry] = yield* flaky.entries
    expect(entry).toMatchObject({ payload: { name: "kept" } })
    const numbers = () =>
      object()
        .database.prepare("SELECT number, below FROM _dormouse_mutations ORDER BY number")
        .all()
        .map(({ below, number }) => [number, below])
    expect(numbers()).toEqual([
      [1, 1],
      [2, 1],
      [3, 1]
    ])
    yield* first.close
    const second = yield* page(flaky, status)
    yield* calm
    yield* TestClock.adjust("30 seconds")
    yield* calm
    expect(yield* flaky.entries).toEqual([])
    const names = (yield* second.client.query("channels.list", {})).map(({ name }) => name)
    expect([...names].sort()).toEqual(["first", "kept", "second", "third"])
    yield* second.close
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

/** A network in which something else may answer in the place of the server, such as the login page of a hotel. */
const portal = Effect.map(
  Effect.flatMap(TestApp, ({ transport }) => Layer.build(transport)),
  (built) => {
    const through = Context.get(built, Fetch)
    const state: { answer: ((url: string) => Response | undefined) | undefined } = { answer: undefined }
    const fetch: Context.Service.Shape<typeof Fetch> = async (url, init) => state.answer?.(url) ?? through(url, init)
    return { fetch, state }
  }
)

const bodiesOf = (client: Client.Client<any>, channel: string) =>
  Effect.map(client.query("messages.list" as never, { channel, limit: 100 } as never), (rows: any) =>
    rows.map(({ body }: any) => body).reverse()
  )

/** Lets an hour pass in small steps, so that each retry finds what the one before left. */
const hour = Effect.gen(function* () {
  for (let i = 0; i < 60; i++) {
    yield* TestClock.adjust("1 minute")
    yield* calm
  }
})

/** A page sends two messages while the device is offline, and is closed. */
const leaveTwo = Effect.fnUntraced(function* (
  storage: Effect.Success<typeof storageOf>,
  { set, status }: ReturnType<typeof device>
) {
  const left = yield* page(storage, status)
  const channel = yield* left.client.mutate("channels.create", { name: "general" })
  const send = (body: string) => ["messages.send", { channel: channel.id, author: "ada", body }] as const
  set(false)
  for (const body of ["one", "two"]) {
    yield* left.client.mutate(...send(body)).pipe(Effect.forkDetach({ startImmediately: true }))
  }
  yield* calm
  yield* left.close
  return { channel, send }
})

const answers = [
  ...[401, 403, 404, 405, 413].map((status) => [`${status}`, status, false] as const),
  ...[200, 302, 401, 511].map((status) => [`${status} of a portal`, status, true] as const)
]

it.effect.each(answers)(
  "C12: an answer that says nothing of a mutation takes none out of the outbox: %s",
  ([, code, isPortal]) =>
    Effect.gen(function* () {
      const { fetch, state } = yield* portal
      const storage = yield* storageOf
      const { set, status } = device()
      const { channel, send } = yield* leaveTwo(storage, { set, status })
      state.answer = (url) =>
        isPortal || !url.endsWith("/time") ? new Response("<h1>Welcome to the hotel</h1>", { status: code }) : undefined
      set(true)
      const [replayed, waiting]: [Array<unknown>, Array<Outbox.Waiting>] = [[], []]
      const options: Partial<Outbox.OutboxOptions> = {
        onReplayed: ({ exit, payload }) => Effect.sync(() => void replayed.push([(payload as any).body, exit._tag])),
        onWaiting: (entry) => Effect.sync(() => void waiting.push(entry))
      }
      const second = yield* page(storage, status, undefined, options, { fetch })
      const own = yield* second.client.mutate(...send("three")).pipe(Effect.forkChild({ startImmediately: true }))
      // Longer than outcomes are kept: none of them has reached the server.
      for (let i = 0; i < 3; i++) {
        yield* hour
        yield* TestClock.adjust("12 hours")
      }
      expect([(yield* storage.entries).length, replayed, own.pollUnsafe()]).toEqual([3, [], undefined])
      expect(waiting).toMatchObject([{ tag: "messages.send", payload: { body: "one" } }])
      expect(waiting[0]?.reason).toContain(`status ${code}`)

      state.answer = undefined
      yield* hour
      expect((yield* Fiber.join(own)).body).toBe("three")
      expect(replayed).toEqual([
        ["one", "Success"],
        ["two", "Success"]
      ])
      expect([yield* bodiesOf(second.client, channel.id), yield* storage.entries]).toEqual([
        ["one", "two", "three"],
        []
      ])
      yield* second.close
    }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a refusal of the mutation itself is its outcome, and so is its own size", () =>
  Effect.gen(function* () {
    const { fetch, state } = yield* portal
    const storage = yield* storageOf
    const { client } = yield* page(storage, device().status, undefined, {}, { fetch })
    yield* client.mutate("channels.create", { name: "one" })
    expect((yield* Effect.flip(client.mutate("channels.create", { name: "one" })))._tag).toBe("ChannelExists")
    state.answer = (url) =>
      url.endsWith("/time") ? undefined : Response.json({ error: "limit requestBytes is 5" }, { status: 413 })
    const error = yield* Effect.flip(client.mutate("channels.create", { name: "two" }))
    expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "LimitExceeded", limit: "requestBytes", max: 5 } })
    expect(yield* storage.entries).toEqual([])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect.each([0, 0.5, 0.99])(
  "C12: what the outbox cannot send is tried again after growing delays, less a random part: %d",
  (random) =>
    Effect.gen(function* () {
      const { transport, url } = yield* TestApp
      const storage = yield* storageOf
      let tries = 0
      const token = Effect.suspend(() => {
        tries++
        return Effect.die(new Error("no token"))
      })
      const client = yield* Client.make(ChatApi, { url, token, outbox: Outbox.make({ storage }) }).pipe(
        Effect.provideContext(yield* Layer.build(transport))
      )
      yield* Effect.forkChild(client.mutate("channels.create", { name: "general" }, { timeout: "1 hour" }))
      yield* calm
      const delays = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
      yield* expectRetries(delays, random, () => tries, calm)
    }).pipe(fixedRandom(random), Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a token that cannot be had takes nothing out of the outbox", () =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const storage = yield* storageOf
    let isLoggedIn = false
    const token = Effect.suspend(() =>
      isLoggedIn ? Effect.succeed(Auth.testToken({ subject: "ada" })) : Effect.die(new Error("logged out"))
    )
    const client = yield* Client.make(ChatApi, { url, token, outbox: Outbox.make({ storage }) }).pipe(
      Effect.provideContext(yield* Layer.build(transport))
    )
    const own = yield* client
      .mutate("channels.create", { name: "one" })
      .pipe(Effect.forkChild({ startImmediately: true }))
    yield* hour
    expect([(yield* storage.entries).length, own.pollUnsafe()]).toEqual([1, undefined])
    isLoggedIn = true
    yield* hour
    expect((yield* Fiber.join(own)).name).toBe("one")
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

// --- what is left

const entryOf = (number: number, tag: string, payload: unknown): Outbox.OutboxEntry => ({
  id: `11111111-aaaa/${number}`,
  client: "11111111-aaaa",
  owner: "http://dormouse.test main ",
  tag,
  payload,
  at: 0,
  sentAfter: null
})

it.effect("C12: an entry whose tag is not a mutation any more is reported, and not sent", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    yield* storage.put(entryOf(0, "channels.list", {}))
    yield* storage.put(entryOf(1, "no.such.rpc", {}))
    yield* storage.put(entryOf(2, "channels.create", { title: "of another version" }))
    yield* storage.put(entryOf(3, "channels.create", { name: "good" }))
    const replayed: Array<unknown> = []
    const onReplayed = ({ exit, tag }: Outbox.Replayed) =>
      Effect.sync(() => void replayed.push([tag, Exit.isSuccess(exit) ? "done" : errorOf(exit)._tag]))
    const { client } = yield* page(storage, device().status, undefined, { onReplayed })
    yield* calm
    expect(replayed).toEqual([
      ["channels.list", "OutcomeUnknown"],
      ["no.such.rpc", "OutcomeUnknown"],
      ["channels.create", "OutcomeUnknown"],
      ["channels.create", "done"]
    ])
    expect([yield* channelsOf(client), yield* storage.entries]).toEqual([["good"], []])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

const errorOf = (exit: Exit.Exit<unknown, unknown>): any => Option.getOrUndefined(Exit.findErrorOption(exit))

it.effect("C12: a page whose callback dies sends what follows", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    for (const [number, name] of ["one", "two"].entries()) {
      yield* storage.put(entryOf(number, "channels.create", { name }))
    }
    const onReplayed = () => Effect.die(new Error("the page cannot show it"))
    const { client } = yield* page(storage, device().status, undefined, { onReplayed })
    yield* calm
    expect([yield* channelsOf(client), yield* storage.entries]).toEqual([["one", "two"], []])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a storage that could not be read once is read again, without an event of the device", () =>
  Effect.gen(function* () {
    const { flaky, refused } = refusing(yield* storageOf)
    yield* flaky.put(entryOf(0, "channels.create", { name: "left" }))
    refused.add("entries")
    const { client } = yield* page(flaky, device().status)
    yield* calm
    expect(yield* channelsOf(client)).toEqual([])
    refused.clear()
    yield* TestClock.adjust("1 minute")
    yield* calm
    expect(yield* channelsOf(client)).toEqual(["left"])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a server that cannot be reached for days loses no mutation, although the device counts as online", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const storage = yield* storageOf
    const { status } = device()
    object().network.offline()
    const first = yield* page(storage, status)
    const own = yield* first.client
      .mutate("channels.create", { name: "one" })
      .pipe(Effect.forkDetach({ startImmediately: true }))
    for (let i = 0; i < 3; i++) {
      yield* hour
      yield* TestClock.adjust("12 hours")
    }
    expect([(yield* storage.entries).map(({ sentAfter }) => sentAfter), own.pollUnsafe()]).toEqual([[null], undefined])
    yield* first.close
    const second = yield* page(storage, status)
    yield* TestClock.adjust("25 hours")
    object().network.online()
    yield* hour
    expect([yield* channelsOf(second.client), yield* storage.entries]).toEqual([["one"], []])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

// --- IndexedDB

const databases = vi.hoisted(() => new Map<string, unknown>())
vi.mock("idb-keyval", () => ({
  createStore: (name: string) => name,
  get: async (_key: string, store: string) => databases.get(store),
  update: async (_key: string, change: (stored: unknown) => unknown, store: string) =>
    void databases.set(store, structuredClone(change(databases.get(store))))
}))

it.effect("C12: an entry that cannot be decoded stays where it is, and the others are sent", () =>
  Effect.gen(function* () {
    const other = { id: 7, of: "another version" }
    const foreign = { client: "x", payload: {} }
    databases.set("mixed", [other, entryOf(0, "channels.create", { name: "one" }), foreign])
    databases.set("no-list", other)
    for (const [name, left] of [
      ["mixed", [other, foreign]],
      ["no-list", [other]]
    ] as const) {
      const context = yield* Layer.build(Outbox.layerIndexedDb({ name }))
      const storage = Context.get(context, Outbox.OutboxStorage)
      warnings.length = 0
      const { client, close } = yield* page(storage, device().status)
      yield* calm
      yield* client.mutate("channels.create", { name: `in ${name}` })
      expect([databases.get(name), yield* storage.entries]).toEqual([left, []])
      expect(warnings.join()).toContain(`${left.length} entries of the outbox cannot be decoded`)
      yield* close
    }
    const { client } = yield* page(yield* storageOf, device().status)
    expect((yield* channelsOf(client)).sort()).toEqual(["in mixed", "in no-list", "one"])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

// --- clocks

/** The clock of a device, ahead of the server's. */
const ahead = (clock: Clock.Clock, state: { millis: number }): Clock.Clock => {
  const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + state.millis
  return { ...clock, currentTimeMillisUnsafe, currentTimeMillis: Effect.sync(currentTimeMillisUnsafe) }
}

it.effect.each([3, -3, 48])(
  "C7 C12: a clock of a device that is set runs nothing twice: %d hours ahead at first",
  (hours) =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const storage = yield* storageOf
      const { status } = device()
      const state = { millis: hours * 60 * 60 * 1000 }
      const clock = ahead(yield* Clock.Clock, state)
      const first = yield* page(storage, status, undefined, {}, { clock })
      const channel = yield* first.client.mutate("channels.create", { name: "general" })
      // The server runs it, and its answer is lost with the page.
      object().network.hold()
      yield* first.client
        .mutate("messages.send", { channel: channel.id, author: "ada", body: "once" })
        .pipe(Effect.provideService(Clock.Clock, clock), Effect.forkDetach({ startImmediately: true }))
      yield* calm
      object().network.step()
      yield* calm
      object().network.offline()
      yield* first.close
      object().network.online()
      object().network.release()
      expect((yield* storage.entries).length).toBe(1)

      state.millis = 0
      yield* TestClock.adjust("26 hours")
      const other = yield* page(yield* storageOf, status)
      for (const name of ["deletes", "the outcomes", "of yesterday"]) {
        yield* other.client.mutate("channels.create", { name })
      }
      const replayed: Array<unknown> = []
      const onReplayed = ({ exit }: Outbox.Replayed) => Effect.sync(() => void replayed.push(errorOf(exit)?._tag))
      yield* page(storage, status, undefined, { onReplayed }, { clock })
      yield* hour
      expect(yield* bodiesOf(other.client, channel.id)).toEqual(["once"])
      expect([replayed, yield* storage.entries]).toEqual([["OutcomeUnknown"], []])
    }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

// --- order

it.effect("C7 C8 C12: a timeout ends the waiting of the caller, and the mutation is still sent in its place", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const storage = yield* storageOf
    const { set, status } = device()
    const replayed: Array<unknown> = []
    const onReplayed = ({ exit, payload }: Outbox.Replayed) =>
      Effect.sync(() => void replayed.push([(payload as any).body, exit._tag]))
    const { client } = yield* page(storage, status, undefined, { onReplayed })
    const channel = yield* client.mutate("channels.create", { name: "general" })
    set(false)
    object().network.offline()
    const send = (body: string) => ["messages.send", { channel: channel.id, author: "ada", body }] as const
    const timed = yield* client
      .mutate(...send("timed"), { timeout: "10 seconds" })
      .pipe(Effect.flip, Effect.forkChild({ startImmediately: true }))
    const stopped = yield* client.mutate(...send("stopped")).pipe(Effect.forkChild({ startImmediately: true }))
    const last = yield* client.mutate(...send("last")).pipe(Effect.forkChild({ startImmediately: true }))
    yield* calm
    yield* Fiber.interrupt(stopped)
    yield* TestClock.adjust("10 seconds")
    const error = yield* Fiber.join(timed)
    expect(error).toBeInstanceOf(OutcomePending)
    expect((yield* storage.entries).length).toBe(3)
    set(true)
    object().network.online()
    yield* hour
    expect((yield* Fiber.join(last)).body).toBe("last")
    expect([yield* bodiesOf(client, channel.id), yield* storage.entries]).toEqual([["timed", "stopped", "last"], []])
    // Nobody waits for the outcomes of these two.
    expect(replayed).toEqual([
      ["timed", "Success"],
      ["stopped", "Success"]
    ])
    // All have ended: the next one settles them.
    yield* client.mutate(...send("more"))
    const [row] = object()
      .database.prepare("SELECT count(*) AS rows, max(below) AS below FROM _dormouse_mutations")
      .all()
    expect(row).toEqual({ rows: 1, below: 4 })
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C9 C12: the optimistic change of a mutation stays while it is in the outbox", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const storage = yield* storageOf
    const { set, status } = device()
    const { client } = yield* page(storage, status)
    const names = () => Option.getOrElse(observed.live().value, () => []).map(({ name }) => name)
    const observed = client.observe("channels.list", {}, () => {})
    yield* calm
    set(false)
    object().network.offline()
    const own = yield* client
      .mutate(
        "channels.create",
        { name: "new" },
        {
          timeout: "10 seconds",
          optimistic: (view) =>
            view.update("channels.list", {}, (rows) => [...rows, { id: "draft", name: "new" } as never])
        }
      )
      .pipe(Effect.flip, Effect.forkChild({ startImmediately: true }))
    yield* calm
    yield* TestClock.adjust("10 seconds")
    expect((yield* Fiber.join(own))._tag).toBe("OutcomePending")
    expect([names(), observed.live().isOptimistic]).toEqual([["new"], true])
    set(true)
    object().network.online()
    yield* hour
    expect([names(), observed.live().isOptimistic]).toEqual([["new"], false])
    observed.end()
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: a page sends what earlier pages left before its own first mutation", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const { set, status } = device()
    const { channel, send } = yield* leaveTwo(storage, { set, status })
    set(true)
    const second = yield* page(storage, status)
    yield* second.client.mutate(...send("three"))
    expect(yield* bodiesOf(second.client, channel.id)).toEqual(["one", "two", "three"])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)

it.effect("C12: an open tab sends what another tab leaves when that one closes", () =>
  Effect.gen(function* () {
    const storage = yield* storageOf
    const [a, b] = [device(), device()]
    a.set(false)
    const early = yield* page(storage, b.status)
    const tab = yield* page(storage, a.status)
    yield* tab.client.mutate("channels.create", { name: "left" }).pipe(Effect.forkDetach({ startImmediately: true }))
    yield* calm
    // This tab finds the entry, whose tab is open: it waits for that one to close.
    const late = yield* page(storage, b.status)
    yield* calm
    expect(yield* channelsOf(late.client)).toEqual([])
    yield* tab.close
    yield* calm
    expect([yield* channelsOf(late.client), yield* storage.entries]).toEqual([["left"], []])
    yield* late.close

    // A tab that was open before the other one finds its entries within a minute.
    const next = yield* page(storage, a.status)
    yield* next.client.mutate("channels.create", { name: "more" }).pipe(Effect.forkDetach({ startImmediately: true }))
    yield* calm
    yield* next.close
    yield* TestClock.adjust("1 minute")
    yield* calm
    expect([(yield* channelsOf(early.client)).sort(), yield* storage.entries]).toEqual([["left", "more"], []])
  }).pipe(Effect.provide(TestApp.layer(app)), Effect.provide(quiet))
)
