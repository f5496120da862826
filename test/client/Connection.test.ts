import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Action, Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Client, ConnectionRefused, type ConnectionState, DeviceStatus } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { ping } from "../../src/protocol/Messages.ts"
import { seeds } from "../random.ts"
import { FakeServer, settle } from "./fakeServer.ts"
import { app, MarksApi, MarksHandlers, marks, ticks } from "./mutationApp.ts"

/** A contract with the kinds of calls that need a socket. */
class SmallApi extends Api.make(
  Query.make("value", { payload: {}, success: Schema.String }),
  Query.make("other", { payload: { id: Schema.Int }, success: Schema.String }),
  Action.make("stream", { payload: {}, success: Schema.Int, stream: true })
) {}

const url = "http://server.test"

/** A client of a fake server. */
const connect = Effect.fnUntraced(function* (options: Partial<Client.ClientOptions> = {}) {
  const server = yield* FakeServer.make
  const client = yield* server.provide(Client.make(SmallApi, { url, ...options }))
  return { server, client }
})

/** Watches a query and records its snapshots. */
const watch = Effect.fnUntraced(function* (client: Client.Client<any>, tag = "value", payload: unknown = {}) {
  const seen: Array<Client.LiveSnapshot<any>> = []
  const fiber = yield* client.watch(tag as never, payload as never).pipe(
    Stream.runForEach((live) => Effect.sync(() => seen.push(live as Client.LiveSnapshot<any>))),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* settle
  return {
    seen,
    fiber,
    get state(): ConnectionState {
      return seen.at(-1)!.connection
    },
    get value(): unknown {
      return Option.getOrUndefined(seen.at(-1)!.value)
    }
  }
})

/** Advances the clock, and waits until everything due has run. */
const wait = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)

describe("C2 C4 C5 C6: reconnecting", () => {
  it.effect("the delay doubles with each attempt, up to 16 seconds, less a random part", () =>
    Effect.gen(function* () {
      const ratios: Array<number> = []
      for (const seed of seeds(20)) {
        yield* Effect.gen(function* () {
          const { client, server } = yield* connect()
          server.accepts = false
          yield* watch(client)
          yield* TestClock.adjust("3 minutes")
          const { delays } = server
          expect(delays.length).toBeGreaterThan(12)
          delays.forEach((delay, attempt) => {
            const most = Math.min(16_000, 250 * 2 ** attempt)
            expect(delay).toBeGreaterThanOrEqual(most / 2)
            expect(delay).toBeLessThanOrEqual(most)
            ratios.push(delay / most)
          })
        }).pipe(Effect.scoped, Random.withSeed(seed))
      }
      // The delays cover the whole range, so that clients that were disconnected together do not reconnect together.
      expect(Math.min(...ratios)).toBeLessThan(0.55)
      expect(Math.max(...ratios)).toBeGreaterThan(0.95)
      expect(new Set(ratios.map((ratio) => ratio.toFixed(2))).size).toBeGreaterThan(40)
    })
  )

  it.effect("the delay starts over after a useful connection", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.accepts = false
      yield* watch(client)
      yield* wait(60_000)
      server.accepts = true
      server.serve("one")
      yield* wait(16_000)
      expect(server.last.isOpen).toBe(true)
      const before = server.sockets.length
      server.last.end()
      yield* wait(250)
      expect(server.sockets.length).toBe(before + 1)
    })
  )

  it.effect("the delay grows while the server closes each socket without a message", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.onMessage = (socket) => socket.end(1011)
      yield* watch(client)
      for (let i = 0; i < 120; i++) yield* wait(1000)
      expect(server.sockets.length).toBeLessThan(20)
      expect(server.delays.at(-1)).toBeGreaterThanOrEqual(8000)
    })
  )

  it.effect("values are stale from the loss until they are known to be the server's current ones", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const watched = yield* watch(client)
      expect([watched.value, watched.state]).toEqual(["one", { _tag: "Live" }])
      yield* wait(5000)
      server.onMessage = () => {}
      server.last.end()
      yield* settle
      expect([watched.value, watched.state]).toEqual(["one", { _tag: "Stale", since: 5000 }])
      yield* wait(250)
      // The socket is open; the server has not said yet whether the value is current.
      expect(server.sockets.length).toBe(2)
      expect(watched.state).toEqual({ _tag: "Stale", since: 5000 })
      const [request] = server.last.requests("live:value")
      expect(request.headers).toContainEqual(["dormouse-have", "h"])
      server.last.chunk(request.id, { _tag: "Current", version: 2 })
      yield* settle
      expect([watched.value, watched.state]).toEqual(["one", { _tag: "Live" }])
    })
  )

  it.effect("the values of a new connection are shown together", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const first = yield* watch(client, "other", { id: 1 })
      const second = yield* watch(client, "other", { id: 2 })
      server.onMessage = () => {}
      server.last.end()
      yield* wait(250)
      const [one, two] = server.last.requests("live:other")
      server.last.chunk(one.id, { _tag: "Snapshot", value: "two", version: 2, hash: "i" })
      yield* settle
      expect([first.value, second.value]).toEqual(["one", "one"])
      expect(server.last.received).toContainEqual({ _tag: "Ack", requestId: one.id, version: 2 })
      server.last.chunk(two.id, { _tag: "Snapshot", value: "two", version: 2, hash: "i" })
      yield* settle
      expect([first.value, second.value]).toEqual(["two", "two"])
      expect(first.state).toEqual({ _tag: "Live" })
    })
  )

  it.effect("does not wait for a query that was stopped", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const first = yield* watch(client, "other", { id: 1 })
      const second = yield* watch(client, "other", { id: 2 })
      server.onMessage = () => {}
      server.last.end()
      yield* wait(250)
      const [one] = server.last.requests("live:other")
      server.last.chunk(one.id, { _tag: "Snapshot", value: "two", version: 2, hash: "i" })
      yield* Fiber.interrupt(second.fiber)
      yield* settle
      expect([first.value, first.state]).toEqual(["two", { _tag: "Live" }])
    })
  )

  it.effect("gets a new token for each connection", () =>
    Effect.gen(function* () {
      let tokens = 0
      const { client, server } = yield* connect({ token: Effect.sync(() => `token${tokens++}`) })
      server.serve("one")
      yield* watch(client)
      server.last.end()
      yield* wait(250)
      expect(server.sockets.map(({ protocols }) => protocols)).toEqual([
        ["dormouse", "dormouse.bearer.token0"],
        ["dormouse", "dormouse.bearer.token1"]
      ])
      expect(server.last.url).toBe("ws://server.test/rpc?tenant=main")
    })
  )
})

describe("C1: one socket while it is wanted", () => {
  it.effect("no socket without live queries, one for any number of them, none after the last has ended", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      yield* wait(60_000)
      expect(server.sockets).toEqual([])
      const watched = yield* Effect.forEach([1, 2, 3], (id) => watch(client, "other", { id }))
      expect(server.sockets.length).toBe(1)
      expect(server.last.requests("live:other").length).toBe(3)
      // Listeners of the same query share one request.
      const again = yield* watch(client, "other", { id: 1 })
      expect(again.value).toBe("one")
      expect(server.last.requests("live:other").length).toBe(3)
      for (const { fiber } of [...watched, again]) yield* Fiber.interrupt(fiber)
      yield* settle
      expect(server.last.isOpen).toBe(false)
      yield* wait(60_000)
      expect(server.sockets.length).toBe(1)
    })
  )

  it.effect("closes a socket that is no longer wanted while it opens", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      const watched = client.observe("value", {}, () => {})
      yield* Effect.yieldNow
      watched.end()
      yield* wait(60_000)
      expect(server.sockets.filter(({ isOpen }) => isOpen)).toEqual([])
      expect(server.sockets.length).toBeLessThanOrEqual(1)
    })
  )

  it.effect("keeps the socket when one query is replaced by another", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const first = client.observe("other", { id: 1 }, () => {})
      yield* settle
      first.end()
      const second = client.observe("other", { id: 2 }, () => {})
      yield* settle
      expect(server.sockets.length).toBe(1)
      expect(Option.getOrUndefined(second.live().value)).toBe("one")
    })
  )

  it.effect("opens a socket at once for a new query, and stops reconnecting after the last one", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const first = client.observe("value", {}, () => {})
      yield* settle
      first.end()
      yield* settle
      const second = client.observe("value", {}, () => {})
      yield* settle
      expect(server.sockets.map(({ isOpen }) => isOpen)).toEqual([false, true])
      server.accepts = false
      server.last.end()
      yield* settle
      second.end()
      yield* wait(120_000)
      expect(server.sockets.length).toBeLessThanOrEqual(3)
      expect(second.live().connection._tag).toBe("Idle")
    })
  )

  it.effect("closes the socket with the client", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { client, server } = yield* connect().pipe(Scope.provide(scope))
      server.serve("one")
      client.observe("value", {}, () => {})
      yield* settle
      yield* Scope.close(scope, Exit.void)
      yield* wait(60_000)
      expect(server.sockets.map(({ isOpen }) => isOpen)).toEqual([false])
    })
  )
})

describe("C4: a connection that dies without a close event", () => {
  it.effect("is pinged after 20 seconds without a message, and replaced 10 seconds later", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.answersPings = false
      server.serve("one")
      const watched = yield* watch(client)
      const pings = () => server.last.texts.filter((text) => text === ping).length
      yield* wait(19_999)
      expect(pings()).toBe(0)
      yield* wait(1)
      expect(pings()).toBe(1)
      yield* wait(9_999)
      expect(server.last.isOpen).toBe(true)
      yield* wait(1)
      expect(server.sockets[0]!.isOpen).toBe(false)
      expect(watched.state._tag).toBe("Stale")
      yield* wait(250)
      expect(watched.state._tag).toBe("Live")
    })
  )

  it.effect("is detected within 50 seconds of the last message", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const watched = yield* watch(client, "list", { list: "a" })
      yield* wait(7000)
      yield* client.mutate("add", { list: "a", marker: "one" })
      yield* settle
      for (const wire of object().network.wires) wire.silence()
      const other = yield* TestApp.client(MarksApi)
      yield* other.mutate("add", { list: "a", marker: "two" })
      for (let i = 0; i < 51; i++) yield* wait(1000)
      expect(watched.seen.some(({ connection }) => connection._tag === "Stale")).toBe(true)
      expect(watched.state._tag).toBe("Live")
      expect(watched.value).toMatchObject({ markers: ["one", "two"] })
    }).pipe(Effect.provide(TestApp.layer(app)))
  )

  it.effect("L8: the object hibernates while its clients ping", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const watched = yield* watch(client, "list", { list: "a" })
      const { network } = object()
      yield* Effect.promise(() => object().evict())
      const { starts } = object()
      for (let i = 0; i < 60; i++) yield* wait(10_000)
      expect(network.log.filter(({ data }) => data === ping).length).toBeGreaterThan(10)
      expect(object().starts).toBe(starts)
      expect(network.wires.size).toBe(1)
      expect(watched.seen.at(-1)!.connection._tag).toBe("Live")
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})

/** A device whose network and screen the test controls. */
const device = () => {
  const listeners = new Set<(event: "offline" | "wake") => void>()
  let online = true
  const emit = (event: "offline" | "wake") => {
    for (const listener of [...listeners]) listener(event)
  }
  const status: DeviceStatus = {
    isOnline: () => online,
    listen: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
  return {
    status,
    listeners,
    show: () => emit("wake"),
    setOnline(next: boolean) {
      online = next
      emit(next ? "wake" : "offline")
    }
  }
}

describe("C4: device events", () => {
  it.effect("offline at once, and reconnected at once when the network is back", () =>
    Effect.gen(function* () {
      const { setOnline, status } = device()
      const { client, server } = yield* connect().pipe(Effect.provideService(DeviceStatus, status))
      server.serve("one")
      const watched = yield* watch(client)
      yield* wait(1000)
      server.accepts = false
      setOnline(false)
      yield* settle
      expect(watched.state).toEqual({ _tag: "Offline", since: 1000 })
      expect(watched.value).toBe("one")
      yield* wait(600_000)
      expect(watched.state).toEqual({ _tag: "Offline", since: 1000 })
      server.accepts = true
      setOnline(true)
      yield* settle
      expect(watched.state).toEqual({ _tag: "Live" })
      // The state is emitted once, however many attempts fail.
      expect(watched.seen.filter(({ connection }) => connection._tag === "Offline").length).toBe(1)
    })
  )

  it.effect("however often the network changes, the client has as many listeners as before", () =>
    Effect.gen(function* () {
      const { listeners, setOnline, status } = device()
      const { client, server } = yield* connect().pipe(Effect.provideService(DeviceStatus, status))
      server.serve("one")
      const watched = yield* watch(client)
      const before = listeners.size
      for (let i = 0; i < 20; i++) {
        setOnline(false)
        yield* settle
        expect(watched.state._tag).toBe("Offline")
        setOnline(true)
        yield* settle
        expect(watched.state).toEqual({ _tag: "Live" })
      }
      expect(listeners.size).toBe(before)
    })
  )

  it.effect("the page becomes visible: a waiting reconnect runs now", () =>
    Effect.gen(function* () {
      const { show, status } = device()
      const { client, server } = yield* connect().pipe(Effect.provideService(DeviceStatus, status))
      server.accepts = false
      const watched = yield* watch(client)
      yield* wait(120_000)
      server.accepts = true
      server.serve("one")
      show()
      yield* settle
      expect(watched.state).toEqual({ _tag: "Live" })
    })
  )

  it.effect("the page becomes visible: an open connection is pinged now", () =>
    Effect.gen(function* () {
      const { show, status } = device()
      const { client, server } = yield* connect().pipe(Effect.provideService(DeviceStatus, status))
      server.answersPings = false
      server.serve("one")
      yield* watch(client)
      yield* wait(1000)
      show()
      yield* settle
      expect(server.last.texts.at(-1)).toBe(ping)
      yield* wait(10_000)
      expect(server.sockets[0]!.isOpen).toBe(false)
    })
  )
})

describe("C2: the state is Live only while the values are known to be current", () => {
  it.effect("on a first connection when every query that was asked has its value", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      const first = client.observe("value", {}, () => {})
      const second = client.observe("other", { id: 1 }, () => {})
      const states = () => [first, second].map((observed) => observed.live().connection._tag)
      yield* settle
      expect(states()).toEqual(["Connecting", "Connecting"])
      const [one, two] = server.last.received
      server.last.chunk(one.id, { _tag: "Snapshot", value: "one", version: 1, hash: "h" })
      yield* settle
      // It is shown as soon as it is there.
      expect(first.live().value).toEqual(Option.some("one"))
      expect(states()).toEqual(["Connecting", "Connecting"])
      server.last.chunk(two.id, { _tag: "Snapshot", value: "two", version: 1, hash: "h" })
      yield* settle
      expect(states()).toEqual(["Live", "Live"])
      // A query that is started later does not make the others stale.
      const later = yield* watch(client, "other", { id: 2 })
      expect([...states(), later.value]).toEqual(["Live", "Live", undefined])
    })
  )

  it.effect("a token that never comes is a failed attempt", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect({ token: Effect.never })
      const watched = yield* watch(client)
      expect(watched.state._tag).toBe("Connecting")
      yield* wait(10_000)
      expect(watched.state).toEqual({ _tag: "Stale", since: 10_000 })
      expect(server.sockets.length).toBe(0)
    })
  )

  it.effect("not after the client has ended", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make
      server.serve("one")
      const scope = yield* Scope.make()
      const client = yield* server.provide(Client.make(SmallApi, { url })).pipe(Scope.provide(scope))
      const observed = client.observe("value", {}, () => {})
      yield* settle
      expect(observed.live().connection._tag).toBe("Live")
      yield* Scope.close(scope, Exit.void)
      expect(observed.live().connection._tag).toBe("Stale")
    })
  )

  it.effect("and a device without a network is Offline, also before the first value", () =>
    Effect.gen(function* () {
      const { setOnline, status } = device()
      setOnline(false)
      const { client } = yield* connect({ token: Effect.never }).pipe(Effect.provideService(DeviceStatus, status))
      const watched = yield* watch(client)
      expect(watched.state).toEqual({ _tag: "Offline", since: 0 })
      setOnline(true)
      yield* settle
      expect(watched.state._tag).toBe("Stale")
    })
  )
})

describe("C2: a live query that is read slowly", () => {
  it.effect("gives the latest value, and none twice in a row", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.serve("one")
      const seen: Array<string> = []
      const turns = yield* Queue.unbounded<void>()
      yield* client.live("value", {}).pipe(
        Stream.runForEach((value) => Effect.map(Queue.take(turns), () => seen.push(value))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* settle
      const [request] = server.last.requests("live:value")
      const values = ["two", "one", "three"]
      for (const [index, value] of values.entries()) {
        server.last.chunk(request.id, { _tag: "Snapshot", value, version: index + 2, hash: value })
        yield* settle
        // The reader is done with "one" when the query has changed to "two" and back.
        if (value === "one") yield* Queue.offer(turns, undefined)
        yield* settle
      }
      expect(seen).toEqual(["one"])
      yield* Queue.offer(turns, undefined)
      yield* settle
      expect(seen).toEqual(["one", "three"])
    })
  )
})

describe("C3: a server that refuses", () => {
  it.effect.each([4400, 4401, 4403, 4404, 4499, 1008])(
    "with code %i: live streams fail, and the client does not reconnect",
    (code) =>
      Effect.gen(function* () {
        const { client, server } = yield* connect()
        server.serve("one")
        const states: Array<ConnectionState> = []
        yield* client.connection.pipe(
          Stream.runForEach((state) => Effect.sync(() => states.push(state))),
          Effect.forkScoped({ startImmediately: true })
        )
        const live = yield* client
          .live("value", {})
          .pipe(Stream.runDrain, Effect.forkScoped({ startImmediately: true }))
        const other = yield* client.live("other", { id: 1 }).pipe(Stream.runDrain, Effect.forkScoped)
        yield* settle
        server.last.end(code, "because")
        for (const fiber of [live, other]) {
          const error = yield* Effect.flip(Fiber.join(fiber))
          expect(error).toBeInstanceOf(ConnectionRefused)
          expect(error).toMatchObject({ reason: `${code} because` })
        }
        yield* wait(600_000)
        expect(states.at(-1)).toEqual({ _tag: "Refused", reason: `${code} because` })
        expect(server.sockets.length).toBe(1)

        // A new live query connects again, perhaps with another token.
        const watched = yield* watch(client)
        expect([watched.value, watched.state]).toEqual(["one", { _tag: "Live" }])
      })
  )

  it.effect("during the handshake", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.accepts = { code: 4401, reason: "token expired" }
      const live = yield* client.live("value", {}).pipe(Stream.runDrain, Effect.forkScoped)
      yield* settle
      expect(yield* Effect.flip(Fiber.join(live))).toMatchObject({ reason: "4401 token expired" })
    })
  )

  it.effect("a query that is started by a listener of the refusal reconnects", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.accepts = { code: 4401 }
      const seen: Array<string> = []
      const first = client.observe("value", {}, () => {
        if (Option.isNone(first.failure()) || seen.length > 0) return
        server.accepts = true
        server.serve("one")
        seen.push("refused")
        const second = client.observe("value", {}, () => seen.push(second.live().connection._tag))
      })
      yield* wait(1000)
      expect(seen.at(0)).toBe("refused")
      expect(seen.at(-1)).toBe("Live")
    })
  )

  it.effect("fails an action that streams", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      server.accepts = { code: 4401 }
      const error = yield* Effect.flip(Stream.runDrain(client.act("stream", {})))
      expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
    })
  )

  it.effect("C3: by the Worker, for a tenant that does not exist: the stream fails and no reconnect follows", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const client = yield* TestApp.client(MarksApi, { tenant: "nobody" })
      const error = yield* Effect.flip(Stream.runDrain(client.live("list", { list: "a" })))
      expect(error).toEqual(new ConnectionRefused({ reason: "4404 no such tenant" }))
      const opened = object("nobody").network.wires.size
      yield* wait(60_000)
      expect([opened, object("nobody").network.wires.size, object("nobody").starts]).toEqual([0, 0, 0])
    }).pipe(Effect.provide(TestApp.layer(app, { tenants: (name) => name !== "nobody" })))
  )

  it.effect("C3: not when the Worker cannot tell who is calling: the client tries again, with growing delays", () => {
    const attempts: Array<number> = []
    let isDown = true
    const layer = TestApp.layer(app, {
      auth: Auth.layer(() => {
        attempts.push(1)
        return isDown
          ? Effect.die(new Error("no answer from the issuer"))
          : Effect.succeed(Option.some({ identity: { subject: "ada", claims: {} }, credential: Auth.noCredential }))
      }),
      enter: () => true
    })
    return Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const watched = yield* watch(client, "list", { list: "a" })
      for (let i = 0; i < 40; i++) yield* wait(100)
      const failed = attempts.length
      // With delays of 250, 500, 1000, 2000 ms, each up to a half shorter.
      expect(failed).toBeGreaterThanOrEqual(4)
      expect(failed).toBeLessThanOrEqual(6)
      isDown = false
      for (let i = 0; i < 80; i++) yield* wait(100)
      expect(watched.state).toEqual({ _tag: "Live" })
      expect(watched.value).toMatchObject({ markers: [] })
    }).pipe(Effect.provide(layer), Effect.provide(Logger.layer([])))
  })

  it.effect.each([1000, 1001, 1006, 1009, 1011, 1012, 1013, 3000, 4000, 4500])(
    "not with code %i: the client reconnects",
    (code) =>
      Effect.gen(function* () {
        const { client, server } = yield* connect()
        server.serve("one")
        const watched = yield* watch(client)
        server.last.end(code)
        yield* wait(250)
        expect(server.sockets.length).toBe(2)
        expect(watched.state).toEqual({ _tag: "Live" })
      })
  )
})

describe("T5 C3: a live query that is larger than requestBytes", () => {
  const limits = { requestBytes: 3000 }
  const small = App.make({ api: MarksApi, tables: [marks, ticks], handlers: MarksHandlers, limits })

  it.effect("C3: fails alone with LimitExceeded, at first and after a reconnect", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const { network } = object()
      const other = yield* watch(client, "list", { list: "a" })
      const list = "x".repeat(4000)
      for (const isReconnecting of [false, true]) {
        if (isReconnecting) network.cut()
        const large = yield* watch(client, "list", { list })
        for (let i = 0; i < 20; i++) yield* wait(100)
        const error = yield* Effect.flip(Fiber.join(large.fiber))
        expect(error).toMatchObject({
          _tag: "CallError",
          reason: { _tag: "LimitExceeded", limit: "requestBytes", max: 3000 }
        })
        expect([other.state, other.value]).toMatchObject([{ _tag: "Live" }, { markers: [] }])
        // The connection that is open now stays open.
        const [wire] = network.wires
        for (let i = 0; i < 10; i++) yield* wait(1000)
        expect([...network.wires]).toEqual([wire])
      }
    }).pipe(Effect.provide(TestApp.layer(small)))
  )

  it.effect("C3: fails when its request became too large by the hash of its value", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const { network } = object()
      // Its first request fits, and the one after a reconnect does not.
      const large = yield* watch(client, "list", { list: "x".repeat(2870) })
      expect(large.state).toEqual({ _tag: "Live" })
      network.cut()
      for (let i = 0; i < 20; i++) yield* wait(100)
      expect(yield* Effect.flip(Fiber.join(large.fiber))).toMatchObject({ reason: { _tag: "LimitExceeded" } })
    }).pipe(Effect.provide(TestApp.layer(small)))
  )
})

describe("C5 L9: 200 live queries that have not changed", () => {
  it.effect("are confirmed with one message each way and an acknowledgement, and no value is emitted", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const { network } = object()
      for (let i = 0; i < 20; i++) yield* client.mutate("add", { list: `${i % 10}`, marker: `marker ${i}` })
      let calls = 0
      const observed = Array.from({ length: 200 }, (_, i) =>
        client.observe("rows", { list: String(i) }, () => {
          if (observed?.[i]?.live().connection._tag === "Live") calls++
        })
      )
      yield* settle
      yield* settle
      const values = observed.map(({ live }) => Option.getOrThrow(live().value))
      const first = bytes(network.log)

      network.log.length = 0
      calls = 0
      network.cut()
      for (let i = 0; i < 10; i++) yield* wait(100)
      const messages: ReadonlyArray<any> = network.log.flatMap(({ data }) => JSON.parse(data))
      expect(messages.filter(({ _tag }) => _tag === "Request").length).toBe(200)
      expect(messages.filter(({ _tag }) => _tag === "Ack").length).toBe(200)
      const frames = messages.filter(({ _tag }) => _tag === "Chunk").flatMap((chunk) => chunk.values)
      expect(frames.length).toBe(200)
      expect(frames.every(({ _tag }) => _tag === "Current")).toBe(true)
      expect(messages.length).toBe(600)
      const again = bytes(network.log)
      expect(again.toClient).toBeLessThan(200 * 120)
      // Each listener is called once, for the connection; the values are the same objects as before.
      expect(calls).toBe(200)
      expect(observed.every(({ live }, i) => Option.getOrThrow(live().value) === values[i])).toBe(true)
      console.info(`200 live queries: ${JSON.stringify(first)} bytes at first, ${JSON.stringify(again)} when unchanged`)
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})

const bytes = (log: ReadonlyArray<{ readonly direction: string; readonly data: string }>) => {
  const sum = { toServer: 0, toClient: 0 }
  for (const { data, direction } of log) sum[direction as keyof typeof sum] += data.length
  return sum
}
