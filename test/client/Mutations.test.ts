import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Mutation, Query } from "effect-dormouse"
import { Client } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { expectRetries, FakeServer, fixedRandom, settle } from "./fakeServer.ts"
import { app, MarksApi, MarksHandlers, marks, ticks } from "./mutationApp.ts"

class SmallApi extends Api.make(
  Query.make("rows", { payload: {}, success: Schema.Array(Schema.String) }),
  Mutation.make("write", { payload: { row: Schema.NonEmptyString }, success: Schema.Int })
) {}

const wait = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)

/** A client with a live query, on a fake server that does not answer mutations by itself. */
const begin = Effect.fnUntraced(function* (options: { readonly accepts: boolean } = { accepts: true }) {
  const server = yield* FakeServer.make
  server.accepts = options.accepts
  server.serve(["old"])
  const good = server.onMessage
  server.onMessage = (socket, message) => {
    if (message.tag === "live:rows") good(socket, message)
  }
  const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
  const shown: Array<ReadonlyArray<string>> = []
  const observed = client.observe("rows", {}, () => {
    const { value } = observed.live()
    if (Option.isSome(value) && value.value !== shown.at(-1)) shown.push(value.value)
  })
  yield* settle
  const write = (row: string, timeout: `${number} seconds` = "60 seconds") =>
    client
      .mutate("write", { row }, { timeout, optimistic: (view) => view.update("rows", {}, (rows) => [...rows, row]) })
      .pipe(Effect.forkChild({ startImmediately: true }))
  return {
    server,
    client,
    observed,
    shown,
    write,
    /** The message with the value of the live query at a version. */
    frame: (value: ReadonlyArray<string>, version: number) => {
      const requestId = server.last.requests("live:rows").at(-1)!.id
      const frame = { _tag: "Snapshot", value, version, hash: `h${version}` }
      return { _tag: "Chunk", requestId, values: [server.last.sealed(requestId, frame)] }
    },
    /** The mutations that the client sent. */
    get written() {
      return server.sockets.flatMap((socket) => socket.requests("write"))
    }
  }
})

const success = (requestId: unknown, value = 1) => ({ _tag: "Exit", requestId, exit: { _tag: "Success", value } })
const committed = (requestId: unknown, version: number) => ({ _tag: "Committed", requestId, version })
const delivered = (version: number) => ({ _tag: "Delivered", version })
const errorOf = (fiber: Fiber.Fiber<unknown, unknown>) => Effect.flip(Fiber.join(fiber))

describe("C8 C9: a mutation succeeds when the live values contain it", () => {
  it.effect("the optimistic change stays until the frame that contains the mutation, which replaces it", () =>
    Effect.gen(function* () {
      const { frame, observed, server, shown, write } = yield* begin()
      const writing = yield* write("new")
      expect(shown.at(-1)).toEqual(["old", "new"])
      expect(observed.live()).toMatchObject({ isOptimistic: true, version: 1 })
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5))
      yield* settle
      expect(writing.pollUnsafe()).toBeUndefined()
      expect(shown.at(-1)).toEqual(["old", "new"])
      // The frame of an earlier commit.
      server.last.deliver(frame(["older", "old"], 4))
      yield* settle
      expect(shown.at(-1)).toEqual(["older", "old", "new"])
      expect(writing.pollUnsafe()).toBeUndefined()
      server.last.deliver(frame(["older", "old", "new!"], 5), delivered(5))
      yield* settle
      expect(shown.at(-1)).toEqual(["older", "old", "new!"])
      expect(observed.live().isOptimistic).toBe(false)
      expect(yield* Fiber.join(writing)).toBe(1)
    })
  )

  it.effect("nothing is shown twice when the frame and its Delivered arrive in two messages", () =>
    Effect.gen(function* () {
      const { frame, server, shown, write } = yield* begin()
      const writing = yield* write("new")
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5))
      server.last.deliver(frame(["old", "new"], 5))
      yield* settle
      expect(shown.at(-1)).toEqual(["old", "new"])
      server.last.deliver(delivered(5))
      yield* settle
      expect(shown.every((rows) => new Set(rows).size === rows.length)).toBe(true)
      expect(yield* Fiber.join(writing)).toBe(1)
    })
  )

  it.effect("an optimistic change that the server does not share is removed when the commit is delivered", () =>
    Effect.gen(function* () {
      const { server, shown, write } = yield* begin()
      const writing = yield* write("new")
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5), delivered(5))
      yield* settle
      expect(shown).toEqual([["old"], ["old", "new"], ["old"]])
      expect(yield* Fiber.join(writing)).toBe(1)
    })
  )

  it.effect("a success that arrived before the connection was lost", () =>
    Effect.gen(function* () {
      const { frame, server, shown, write } = yield* begin()
      const writing = yield* write("new")
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5))
      yield* settle
      server.onMessage = () => {}
      server.last.end()
      yield* wait(250)
      expect(server.last.requests("write")).toEqual([])
      expect(shown.at(-1)).toEqual(["old", "new"])
      expect(writing.pollUnsafe()).toBeUndefined()
      server.last.deliver(frame(["old", "new!"], 6))
      yield* settle
      expect(shown.at(-1)).toEqual(["old", "new!"])
      expect(yield* Fiber.join(writing)).toBe(1)
    })
  )

  it.effect("a mutation succeeds even if the frames never arrive", () =>
    Effect.gen(function* () {
      const { server, shown, write } = yield* begin()
      const writing = yield* write("new", "10 seconds")
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5))
      yield* settle
      server.accepts = false
      server.last.end()
      yield* wait(10_000)
      expect(yield* Fiber.join(writing)).toBe(1)
      expect(shown.at(-1)).toEqual(["old", "new"])
    })
  )

  it.effect("an interruption after the success takes nothing back", () =>
    Effect.gen(function* () {
      const { frame, server, shown, write } = yield* begin()
      const writing = yield* write("new")
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5))
      yield* settle
      yield* Fiber.interrupt(writing)
      expect(shown.at(-1)).toEqual(["old", "new"])
      server.last.deliver(frame(["old", "new!"], 5), delivered(5))
      yield* settle
      expect(shown).toEqual([["old"], ["old", "new"], ["old", "new!"]])
    })
  )

  it.effect("an optimistic change is there again when its query is watched again, until the value contains it", () =>
    Effect.gen(function* () {
      const { client, frame, observed, server, write } = yield* begin()
      const writing = yield* write("new")
      observed.end()
      yield* settle
      const shown: Array<ReadonlyArray<string>> = []
      const again = client.observe("rows", {}, () => {
        const { value } = again.live()
        if (Option.isSome(value)) shown.push(value.value)
      })
      yield* settle
      expect(shown.at(-1)).toEqual(["old", "new"])
      expect(again.live().isOptimistic).toBe(true)
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 5), frame(["old", "new"], 5), delivered(5))
      yield* settle
      expect(yield* Fiber.join(writing)).toBe(1)
      expect(shown.at(-1)).toEqual(["old", "new"])
      expect(again.live().isOptimistic).toBe(false)
      again.end()
    })
  )

  it.effect("a failure or an interruption removes the optimistic change at once", () =>
    Effect.gen(function* () {
      const { server, shown, write } = yield* begin()
      const failing = yield* write("new")
      const [{ id }] = server.last.requests("write")
      server.last.deliver({
        _tag: "Exit",
        requestId: id,
        exit: { _tag: "Failure", cause: [{ _tag: "Die", defect: "no" }] }
      })
      yield* settle
      expect(shown).toEqual([["old"], ["old", "new"], ["old"]])
      expect(Exit.isFailure(yield* Fiber.await(failing))).toBe(true)
      const interrupted = yield* write("other")
      expect(shown.at(-1)).toEqual(["old", "other"])
      yield* Fiber.interrupt(interrupted)
      expect(shown.at(-1)).toEqual(["old"])
    })
  )

  // The answer over HTTP arrives before the frame, or after it.
  it.effect.each([0, 1])("also when it was called before a query was live (%i)", (channel) =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const { network } = object()
      const rows = () => object().database.prepare("SELECT count(*) AS rows FROM marks").get()!["rows"]
      const step = (choose: (channels: number) => number) =>
        Effect.andThen(
          Effect.sync(() => network.stepAny(choose)),
          settle
        )
      network.hold()
      const writing = yield* client.mutate("add", { list: "a", marker: "one" }).pipe(Effect.forkChild)
      yield* settle
      const observed = client.observe("list", { list: "a" }, () => {})
      yield* settle
      // The handshake, the request, its answer and the acknowledgement, all before the mutation runs.
      for (let i = 0; i < 4; i++) yield* step((channels) => channels - 1)
      expect(Option.getOrThrow(observed.live().value).markers).toEqual([])
      yield* step(() => 0)
      expect(rows()).toBe(1)
      expect(network.inFlight).toBe(2)
      yield* step(() => channel)
      const markers = () => Option.getOrThrow(observed.live().value).markers
      if (writing.pollUnsafe() !== undefined) expect(markers()).toEqual(["one"])
      network.release()
      yield* Fiber.join(writing)
      expect(markers()).toEqual(["one"])
      expect(rows()).toBe(1)
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})

describe("C7: mutations that are sent again", () => {
  it.effect("the same request under the same id, before the live queries", () =>
    Effect.gen(function* () {
      const { server, write } = yield* begin()
      yield* write("one")
      yield* write("two")
      server.last.end()
      yield* wait(250)
      const [before, after] = server.sockets.map((socket) => socket.requests("write"))
      expect(after).toEqual(before)
      expect(server.last.received.map(({ tag }) => tag).slice(0, 3)).toEqual(["write", "write", "live:rows"])
      const numbers = after!.map(({ headers }) => headers.find(([name]: [string]) => name === "dormouse-mutation")[1])
      expect(new Set(numbers).size).toBe(2)
      for (const number of numbers) expect(number).toMatch(/^[a-z0-9-]{36}\/\d+\/0$/)
    })
  )

  it.effect("each says below which number every mutation has ended", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const settledBy = (index: number) => {
        const [, id] = test.written[index].headers.find(([name]: [string]) => name === "dormouse-mutation")
        return id.slice(id.indexOf("/") + 1)
      }
      const end = (index: number, version: number) => {
        const { id } = test.written[index]
        test.server.last.deliver(success(id), committed(id, version), delivered(version))
      }
      for (const row of ["zero", "one", "two"]) yield* test.write(row, "10 seconds")
      end(1, 5)
      yield* settle
      yield* test.write("three")
      // An answer alone does not end a mutation: it may have to be sent again to learn what the live values contain.
      test.server.last.deliver(success(test.written[0].id))
      yield* settle
      yield* test.write("four")
      test.server.last.deliver(committed(test.written[0].id, 6), delivered(6))
      yield* settle
      yield* test.write("five")
      // Number two fails: its outcome is unknown, and it is not sent again. Number four does not fail yet.
      yield* wait(10_000)
      yield* test.write("six")
      // One that cannot be shown has no number.
      const thrown = { optimistic: () => Effect.runSync(Effect.die("no")) }
      expect(Exit.hasDies(yield* Effect.exit(test.client.mutate("write", { row: "never" }, thrown)))).toBe(true)
      for (const index of [3, 4, 5, 6]) end(index, 7 + index)
      yield* settle
      yield* test.write("seven")
      expect(test.written.map((_, index) => settledBy(index))).toEqual([
        "0/0",
        "1/0",
        "2/0",
        "3/0",
        "4/0",
        "5/2",
        "6/3",
        "7/7"
      ])
    })
  )

  it.effect("a client that waits for each leaves one outcome at the server, over HTTP and over the socket", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const records = () => object().database.prepare("SELECT count(*) AS n FROM _dormouse_mutations").get()
      for (let i = 0; i < 100; i++) {
        if (i === 50) client.observe("list", { list: "a" }, () => {})
        const kind = i % 3 === 0 ? "addAndFail" : "add"
        yield* Effect.exit(client.mutate(kind, { list: "a", marker: `${i}` }))
        expect(records()).toEqual({ n: 1 })
      }
      const all = Array.from({ length: 10 }, (_, i) => client.mutate("add", { list: "b", marker: `${i}` }))
      yield* Effect.all(all, { concurrency: "unbounded" })
      yield* client.mutate("add", { list: "b", marker: "last" })
      expect(records()).toEqual({ n: 1 })
    }).pipe(Effect.provide(TestApp.layer(app)))
  )

  it.effect("a mutation that was sent and not answered fails with OutcomeUnknown, and is not sent after that", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const writing = yield* test.write("new", "10 seconds")
      yield* wait(9_999)
      expect(writing.pollUnsafe()).toBeUndefined()
      yield* wait(1)
      expect(yield* errorOf(writing)).toMatchObject({ _tag: "OutcomeUnknown", tag: "write" })
      expect(test.shown.at(-1)).toEqual(["old"])
      test.server.last.end()
      yield* wait(1000)
      expect(test.server.sockets.length).toBe(2)
      expect(test.server.last.requests("write")).toEqual([])
    })
  )

  it.effect("a mutation that was never sent fails with Unavailable", () =>
    Effect.gen(function* () {
      const test = yield* begin({ accepts: false })
      const writing = yield* test.write("new", "10 seconds")
      yield* wait(10_000)
      expect(yield* errorOf(writing)).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      test.server.accepts = true
      yield* wait(20_000)
      expect(test.written).toEqual([])
    })
  )

  it.effect("not after the server may have forgotten the outcome, because the device slept for a day", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const writing = yield* test.write("new", `${100 * 60 * 60} seconds`)
      test.server.accepts = false
      test.server.last.end()
      yield* wait(24 * 60 * 60 * 1000 - 30_000)
      expect(writing.pollUnsafe()).toBeUndefined()
      test.server.accepts = true
      yield* wait(20_000)
      expect(test.observed.live().connection._tag).toBe("Live")
      expect(yield* errorOf(writing)).toMatchObject({ _tag: "OutcomeUnknown" })
      expect(test.written.length).toBe(1)
    })
  )

  it.effect(
    "a mismatch of its number is a failure the first time, and an unknown outcome after a lost connection",
    () =>
      Effect.gen(function* () {
        const test = yield* begin()
        const mismatch = (requestId: unknown) => ({
          _tag: "Exit",
          requestId,
          exit: {
            _tag: "Failure",
            cause: [{ _tag: "Fail", error: { _tag: "CallError", reason: { _tag: "MutationMismatch" } } }]
          }
        })
        const first = yield* test.write("first")
        test.server.last.deliver(mismatch(test.written[0].id))
        expect(yield* errorOf(first)).toMatchObject({ _tag: "CallError", reason: { _tag: "MutationMismatch" } })
        const second = yield* test.write("second")
        test.server.last.end()
        yield* wait(250)
        test.server.last.deliver(mismatch(test.server.last.requests("write")[0].id))
        yield* settle
        expect(yield* errorOf(second)).toMatchObject({ _tag: "OutcomeUnknown", tag: "write" })
      })
  )

  it.effect("an outcome that the server cannot read any more is unknown, and the mutation is not sent again", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const writing = yield* test.write("new")
      const [{ id }] = test.written
      const error = { _tag: "CallError", reason: { _tag: "OutcomeUnreadable" } }
      test.server.last.deliver({
        _tag: "Exit",
        requestId: id,
        exit: { _tag: "Failure", cause: [{ _tag: "Fail", error }] }
      })
      yield* settle
      expect(yield* errorOf(writing)).toMatchObject({ _tag: "OutcomeUnknown", tag: "write" })
      test.server.last.end()
      yield* wait(1000)
      expect(test.server.last.requests("write")).toEqual([])
    })
  )

  it.effect("over HTTP, when the server refuses the socket", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const calls: Array<any> = []
      test.server.onFetch = (body) => {
        calls.push(body)
        return Response.json([success(body.id, 7)])
      }
      const writing = yield* test.write("new")
      test.server.last.end(4401)
      yield* settle
      expect(yield* Fiber.join(writing)).toBe(7)
      const [sent] = test.written
      expect(calls.map(({ headers }) => headers)).toEqual([sent.headers])
    })
  )

  it.effect("over HTTP, when the object is lost while it answers: the mutation runs once", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(MarksApi)
      const { object } = yield* TestApp
      const { network } = object()
      yield* client.query("total", {})
      let crashes = 0
      network.hold()
      const writing = yield* client.mutate("add", { list: "a", marker: "one" }).pipe(Effect.forkChild)
      for (let i = 0; i < 20; i++) {
        yield* settle
        network.step()
        if (crashes++ < 4) yield* Effect.promise(() => object().crash())
        yield* wait(1000)
      }
      expect(yield* Fiber.join(writing)).toBe(0)
      expect(object().database.prepare("SELECT count(*) AS n FROM marks").get()).toEqual({ n: 1 })
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})

describe("C7: retries over HTTP", () => {
  it.effect.each([0, 0.5, 0.99])("come after growing delays, less a random part: %d", (random) =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make
      const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
      let calls = 0
      server.onFetch = () => {
        calls++
        return new Response("", { status: 503 })
      }
      yield* client.mutate("write", { row: "new" }).pipe(Effect.forkChild({ startImmediately: true }))
      yield* settle
      yield* expectRetries([250, 500, 1000, 2000, 4000, 8000, 16_000, 16_000], random, () => calls, settle)
    }).pipe(fixedRandom(random), Effect.scoped)
  )

  it.effect.each([0, 0.5, 0.99])("of a query come after the same delays, twice: %d", (random) =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make
      const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
      let calls = 0
      server.onFetch = () => {
        calls++
        return new Response("", { status: 503 })
      }
      const query = yield* client.query("rows", {}).pipe(Effect.flip, Effect.forkChild({ startImmediately: true }))
      yield* settle
      yield* expectRetries([250, 500], random, () => calls, settle)
      expect(yield* Fiber.join(query)).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      expect(calls).toBe(3)
    }).pipe(fixedRandom(random), Effect.scoped)
  )

  it.effect("of a query that the server refuses do not come", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make
      const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
      let calls = 0
      server.onFetch = () => {
        calls++
        return Response.json({ error: "not like this" }, { status: 401 })
      }
      const failure = yield* Effect.flip(client.query("rows", {}))
      expect(failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      expect(calls).toBe(1)
    }).pipe(Effect.scoped)
  )
})

describe("C7: mutations that cannot be sent", () => {
  it.effect("an invalid payload fails with PayloadInvalid: nothing is sent or shown", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const error = yield* Effect.flip(test.client.mutate("write", { row: "" }))
      expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "PayloadInvalid" } })
      expect(test.written).toEqual([])
      expect(test.shown).toEqual([["old"]])
    })
  )

  it.effect("a mutation that is too large fails with the limit's name, and others succeed", () =>
    Effect.gen(function* () {
      const limits = { requestBytes: 3000 }
      const small = App.make({ api: MarksApi, tables: [marks, ticks], handlers: MarksHandlers, limits })
      yield* Effect.gen(function* () {
        const client = yield* TestApp.client(MarksApi)
        const observed = client.observe("list", { list: "a" }, () => {})
        yield* settle
        const large = yield* client.mutate("add", { list: "a", marker: "x".repeat(4000) }).pipe(Effect.forkChild)
        const other = yield* client.mutate("add", { list: "a", marker: "other" }).pipe(Effect.forkChild)
        for (let i = 0; i < 10; i++) yield* wait(100)
        expect(yield* errorOf(large)).toMatchObject({
          reason: { _tag: "LimitExceeded", limit: "requestBytes", max: 3000 }
        })
        yield* Fiber.join(other)
        expect(Option.getOrThrow(observed.live().value).markers).toEqual(["other"])
        expect(observed.live().connection._tag).toBe("Live")
      }).pipe(Effect.provide(TestApp.layer(small)))
    })
  )
})

describe("C9: an optimistic change that throws", () => {
  it.effect("is left out, over this value and every later one", () =>
    Effect.gen(function* () {
      const { client, frame, server, shown } = yield* begin()
      const writing = yield* client
        .mutate(
          "write",
          { row: "new" },
          {
            optimistic: (view) =>
              view.update("rows", {}, (rows) => {
                if (rows.length > 1) throw new Error("not expected")
                return [...rows, "new"]
              })
          }
        )
        .pipe(Effect.forkChild({ startImmediately: true }))
      expect(shown.at(-1)).toEqual(["old", "new"])
      server.last.deliver(frame(["old", "older"], 2))
      yield* settle
      expect(shown.at(-1)).toEqual(["old", "older"])
      const [{ id }] = server.last.requests("write")
      server.last.deliver(success(id), committed(id, 3), frame(["old", "older", "new"], 3), delivered(3))
      yield* settle
      expect(yield* Fiber.join(writing)).toBe(1)
      expect(shown.at(-1)).toEqual(["old", "older", "new"])
    })
  )

  it.effect("nothing is sent when the optimistic function itself throws", () =>
    Effect.gen(function* () {
      const test = yield* begin()
      const exit = yield* Effect.exit(
        test.client.mutate(
          "write",
          { row: "new" },
          {
            optimistic: () => {
              throw new Error("no")
            }
          }
        )
      )
      expect(Exit.hasDies(exit)).toBe(true)
      expect(test.written).toEqual([])
    })
  )
})
