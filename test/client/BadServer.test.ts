import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Api, Mutation, Query } from "effect-dormouse"
import { Client } from "effect-dormouse/client"
import { isLong, Random, startSeed } from "../random.ts"
import { FakeServer, type FakeSocket, settle } from "./fakeServer.ts"

class SmallApi extends Api.make(
  Query.make("rows", { payload: {}, success: Schema.Array(Schema.Struct({ id: Schema.String, n: Schema.Int })) }),
  Query.make("text", { payload: {}, success: Schema.String }),
  Mutation.make("write", { payload: { n: Schema.Int }, success: Schema.Int })
) {}

const rows = [
  { id: "a", n: 1 },
  { id: "b", n: 2 }
]
const snapshot = (value: unknown, version = 1, hash = `h${version}`) => ({ _tag: "Snapshot", value, version, hash })
const patch = (ops: unknown, version = 2, hash = `h${version}`) => ({ _tag: "Patch", ops, version, hash })
const replaceFirst = (n: number, version: number) => patch([{ op: "replace", path: "/0/n", value: n }], version)

const wait = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)

/** A client with both queries live, on a server that behaves well so far. */
const begin = Effect.gen(function* () {
  const server = yield* FakeServer.make
  const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
  behaveWell(server)
  const shown: Array<unknown> = []
  const observe = (tag: "rows" | "text") => {
    const observed = client.observe(tag, {}, () => {
      const { value } = observed.live()
      if (Option.isSome(value)) shown.push(value.value)
    })
    return {
      get value() {
        return Option.getOrUndefined(observed.live().value)
      },
      get version() {
        return observed.live().version
      },
      get state() {
        return observed.live().connection._tag
      },
      get failure() {
        return Option.getOrUndefined(Option.map(observed.failure(), Cause.squash)) as any
      },
      end: observed.end
    }
  }
  const list = observe("rows")
  const text = observe("text")
  yield* settle
  expect([list.value, list.state, text.value]).toEqual([rows, "Live", "hello"])
  return {
    server,
    client,
    list,
    text,
    shown,
    observe,
    /** The id of the live request of a query on the last socket. */
    id: (tag: string) => server.last.requests(`live:${tag}`).at(-1)!.id as string,
    requests: () => server.sockets.flatMap(({ received }) => received).filter(({ _tag }) => _tag === "Request").length
  }
})

const behaveWell = (
  server: FakeServer,
  answer: (tag: string) => unknown = (tag) => (tag === "rows" ? rows : "hello")
) => {
  server.accepts = true
  server.onMessage = (socket, message) => {
    if (message._tag !== "Request" || !message.tag.startsWith("live:")) return
    const has = message.headers.some(([name]: [string]) => name === "dormouse-have")
    const frame = has ? { _tag: "Current", version: 1 } : snapshot(answer(message.tag.slice(5)))
    socket.chunk(message.id, frame)
  }
}

/**
 * For ten minutes the server answers every request in one wrong way: the client must send fewer than `most` requests.
 * Then the server behaves well again, and the client must recover.
 */
const survive = Effect.fnUntraced(function* (bad: (socket: FakeSocket, message: any) => void, most = 200) {
  const { list, requests, server, shown, text } = yield* begin
  server.onMessage = (socket, message) => {
    if (message._tag === "Request") bad(socket, message)
  }
  const before = requests()
  bad(server.last, server.last.requests("live:rows")[0])
  for (let i = 0; i < 600; i++) yield* wait(1000)
  expect(requests() - before).toBeLessThan(most)
  expect(server.sockets.length).toBeLessThan(most)
  for (const value of shown) expect([rows, "hello"]).toContainEqual(value)
  behaveWell(server)
  for (let i = 0; i < 20; i++) yield* wait(1000)
  expect([list.value, list.state, text.value, text.state]).toEqual([rows, "Live", "hello", "Live"])
})

describe("C10: text that is not a message", () => {
  const texts = [
    "",
    "garbage",
    "42",
    "null",
    '"text"',
    "[1,2]",
    "{}",
    '{"_tag":5}',
    '[{"_tag":"Pong"},7]',
    "[".repeat(100_000)
  ]
  it.effect.each(texts.map((text) => [text.slice(0, 30), text] as const))("%j", ([, text]) =>
    survive((socket) => socket.text(text))
  )

  it.effect("resets the connection, and shows values as stale", () =>
    Effect.gen(function* () {
      const { list, server } = yield* begin
      server.last.text("garbage")
      yield* settle
      expect([list.value, list.state]).toEqual([rows, "Stale"])
      expect(server.last.isOpen).toBe(false)
    })
  )
})

describe("C10: messages of another version", () => {
  it.effect("are ignored", () =>
    Effect.gen(function* () {
      const { list, server } = yield* begin
      server.last.deliver({ _tag: "News", text: "hello" }, { _tag: "Pong" }, { _tag: "Eof" })
      server.last.deliver({ _tag: "Exit", requestId: "call-77", exit: { _tag: "Success", value: 1 } })
      server.last.deliver({ _tag: "Exit", requestId: "live-9-9", exit: { _tag: "Success", value: 1 } })
      server.last.deliver({ _tag: "Exit", requestId: 5, exit: 5 }, { _tag: "Exit" })
      server.last.chunk("live-9-9", snapshot([]))
      server.last.chunk("nobody", snapshot([]))
      server.last.deliver({ _tag: "Committed", requestId: "call-77", version: 1 }, { _tag: "Delivered", version: 9e15 })
      yield* settle
      expect([list.value, list.state]).toEqual([rows, "Live"])
      expect(server.sockets.length).toBe(1)
      server.last.chunk(server.last.requests("live:rows")[0].id, replaceFirst(5, 2))
      yield* settle
      expect(list.value).toEqual([{ id: "a", n: 5 }, rows[1]])
    })
  )
})

describe("C10: a frame that cannot be applied", () => {
  const id = (message: any) => message.id
  const frames: ReadonlyArray<readonly [string, (socket: FakeSocket, message: any) => void]> = [
    ["an unknown frame", (socket, message) => socket.chunk(id(message), { _tag: "Frob", version: 2 })],
    ["values that are not objects", (socket, message) => socket.chunk(id(message), 7, null, "text")],
    ["no values", (socket, message) => socket.deliver({ _tag: "Chunk", requestId: id(message) })],
    [
      "values that are not a list",
      (socket, message) => socket.deliver({ _tag: "Chunk", requestId: id(message), values: 7 })
    ],
    ["an unknown message", (socket, message) => socket.deliver({ _tag: "Frob", requestId: id(message) })],
    [
      "a snapshot without a version",
      (socket, message) => socket.chunk(id(message), { ...snapshot([]), version: null })
    ],
    ["a version that is text", (socket, message) => socket.chunk(id(message), { ...snapshot([]), version: "2" })],
    ["a snapshot without a hash", (socket, message) => socket.chunk(id(message), { ...snapshot([]), hash: 5 })],
    [
      "a snapshot without a value",
      (socket, message) => socket.chunk(id(message), { _tag: "Snapshot", version: 2, hash: "h" })
    ],
    [
      "a patch that does not apply",
      (socket, message) => socket.chunk(id(message), patch([{ op: "remove", path: "/7" }]))
    ],
    ["an invalid patch", (socket, message) => socket.chunk(id(message), patch([{ op: "frob", path: "/0" }]))],
    ["a patch of text", (socket, message) => socket.chunk(id(message), patch("text"))],
    [
      "a patch whose result does not fit the schema",
      (socket, message) => socket.chunk(id(message), patch([{ op: "replace", path: "", value: 7 }]))
    ],
    [
      "a part that is not JSON",
      (socket, message) => socket.chunk(id(message), { _tag: "Part", text: "{", last: true })
    ],
    ["an empty part", (socket, message) => socket.chunk(id(message), { _tag: "Part", text: "", last: true })],
    ["a part of a number", (socket, message) => socket.chunk(id(message), { _tag: "Part", text: "7", last: true })]
  ]

  it.effect.each(frames)("%s, repeatedly", ([, bad]) => survive(bad))

  it.effect.each(frames)(
    "%s, once: requests the whole value, and shows the last one as stale until it arrives",
    ([, bad]) =>
      Effect.gen(function* () {
        const { id, list, server, text } = yield* begin
        server.onMessage = () => {}
        const asked = id("rows")
        bad(server.last, { id: asked })
        yield* settle
        expect([list.value, list.version, list.state]).toEqual([rows, 1, "Stale"])
        expect(text.value).toBe("hello")
        expect(server.last.received).toContainEqual({ _tag: "Interrupt", requestId: asked })
        const request = server.last.requests("live:rows").at(-1)!
        expect(request.id).not.toBe(asked)
        expect(request.headers).toEqual([["dormouse-prompt", "1"]])
        // A frame of the request that was given up is ignored.
        server.last.chunk(asked, replaceFirst(9, 2))
        server.last.chunk(request.id, snapshot([rows[0]], 3))
        yield* settle
        expect([list.value, list.version, list.state]).toEqual([[rows[0]], 3, "Live"])
        expect(server.sockets.length).toBe(1)
      })
  )

  it.effect("a version that is lower than the one before", () =>
    Effect.gen(function* () {
      const { id, list, server } = yield* begin
      server.onMessage = () => {}
      server.last.chunk(id("rows"), replaceFirst(5, 10))
      yield* settle
      server.last.chunk(id("rows"), replaceFirst(4, 9))
      yield* settle
      expect([list.value, list.version]).toEqual([[{ id: "a", n: 5 }, rows[1]], 10])
      expect(list.state).toBe("Stale")
      server.last.chunk(id("rows"), snapshot([rows[0]], 11))
      yield* settle
      expect([list.value, list.version, list.state]).toEqual([[rows[0]], 11, "Live"])
    })
  )

  it.effect("a patch as the first frame of a connection", () =>
    Effect.gen(function* () {
      const { server, client } = yield* begin
      server.onMessage = () => {}
      server.last.end()
      yield* wait(250)
      const first = server.last.requests("live:rows")[0].id
      server.last.chunk(first, replaceFirst(5, 2))
      // A patch applies only to a value that was sent on the same connection.
      for (const { id } of server.last.requests("live:text")) server.last.chunk(id, { _tag: "Current", version: 2 })
      yield* settle
      const again = server.last.requests("live:rows").at(-1)!
      expect(again.id).not.toBe(first)
      server.last.chunk(again.id, snapshot(rows, 2))
      yield* settle
      const seen = client.observe("rows", {}, () => {}).live()
      expect([Option.getOrThrow(seen.value), seen.connection._tag]).toEqual([rows, "Live"])
    })
  )
})

describe("C3: a value that does not fit the contract", () => {
  const values: ReadonlyArray<unknown> = [
    7,
    null,
    "text",
    {},
    [7],
    [{ id: "a" }],
    [{ id: 7, n: 1 }],
    [{ id: "a", n: 1.5 }],
    [[]]
  ]
  it.effect.each(values.map((value) => [value] as const))("%j fails its query, and no other", ([value]) =>
    Effect.gen(function* () {
      const { id, list, observe, server, text } = yield* begin
      server.last.chunk(id("rows"), snapshot(value, 2))
      yield* settle
      expect(list.failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Outdated" } })
      expect(list.value).toEqual(rows)
      expect([text.value, text.state, text.failure]).toEqual(["hello", "Live", undefined])
      expect(server.last.received).toContainEqual({ _tag: "Interrupt", requestId: id("rows") })
      // Starting the query again requests it again.
      const again = observe("rows")
      yield* settle
      expect([again.value, again.state]).toEqual([rows, "Live"])
    })
  )
})

describe("C3: a live query that the server ends", () => {
  const exits: ReadonlyArray<unknown> = [
    { _tag: "Success", value: undefined },
    { _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: 1 }] },
    { _tag: "Failure", cause: "text" },
    { _tag: "Failure", cause: [{ _tag: "Fail", error: { _tag: "Nobody" } }] },
    { _tag: "Frob" },
    7,
    null
  ]
  it.effect.each(exits.map((exit) => [exit] as const))("by %j fails with a typed error", ([exit]) =>
    Effect.gen(function* () {
      const { id, list, server, text } = yield* begin
      server.last.deliver({ _tag: "Exit", requestId: id("rows"), exit })
      yield* settle
      expect(list.failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Outdated" } })
      expect([text.value, text.state]).toEqual(["hello", "Live"])
    })
  )
})

describe("C10: large frames", () => {
  const large = Array.from({ length: 10_000 }, (_, n) => ({ id: `${n} ${"x".repeat(1000)}`, n }))
  const frame = snapshot(large, 2)

  it.effect("10 MB in one message", () =>
    Effect.gen(function* () {
      const { id, list, server } = yield* begin
      server.last.chunk(id("rows"), frame)
      yield* settle
      expect([list.value, list.state]).toEqual([large, "Live"])
    })
  )

  it.effect("10 MB in parts, with other messages between them", () =>
    Effect.gen(function* () {
      const { id, list, server, text } = yield* begin
      const json = JSON.stringify(server.last.sealed(id("rows"), frame))
      for (let at = 0; at < json.length; at += 900_000) {
        expect(list.value).toEqual(rows)
        const last = at + 900_000 >= json.length
        server.last.chunk(id("rows"), { _tag: "Part", text: json.slice(at, at + 900_000), last })
        server.last.chunk(id("text"), snapshot(`hello ${at}`, 2 + at))
      }
      yield* settle
      expect([list.value, list.state]).toEqual([large, "Live"])
      expect(text.value).toMatch(/hello 9/)
    })
  )

  it.effect("incomplete parts are discarded with their connection", () =>
    Effect.gen(function* () {
      const { id, list, server } = yield* begin
      const json = JSON.stringify(frame)
      server.last.chunk(id("rows"), { _tag: "Part", text: json.slice(0, 900_000), last: false })
      server.last.end()
      yield* wait(250)
      server.last.chunk(id("rows"), { _tag: "Part", text: json.slice(900_000), last: true })
      yield* settle
      expect(list.value).toEqual(rows)
    })
  )
})

describe("C7 C10: calls over a socket", () => {
  const call = Effect.fnUntraced(function* (answer: (id: string) => ReadonlyArray<unknown>, mutation = true) {
    const { client, server } = yield* begin
    const good = server.onMessage
    server.onMessage = (socket, message) => {
      if (message.tag === "write" || message.tag === "text") socket.deliver(...answer(message.id))
      else good(socket, message)
    }
    const fiber = yield* Effect.forkChild(
      mutation ? client.mutate("write", { n: 1 }) : (client.query("text", {}) as Effect.Effect<unknown, unknown>)
    )
    yield* settle
    for (let i = 0; i < 30; i++) yield* wait(10_000)
    const exit = yield* Fiber.await(fiber)
    return { error: Option.getOrUndefined(Exit.findErrorOption(exit)) as any, exit, server }
  })
  const exits: ReadonlyArray<unknown> = [7, null, undefined, {}, { _tag: "Failure" }, { _tag: "Frob" }]

  it.effect.each([...exits, { _tag: "Success", value: "text" }].map((exit) => [exit] as const))(
    "a mutation that is answered with %j has an unknown outcome",
    ([exit]) =>
      Effect.gen(function* () {
        const { error, server } = yield* call((requestId) => [{ _tag: "Exit", requestId, exit }])
        expect(error).toMatchObject({ _tag: "OutcomeUnknown", tag: "write" })
        expect(server.sockets.length).toBe(1)
      })
  )

  it.effect.each([...exits, { _tag: "Success", value: 7 }].map((exit) => [exit] as const))(
    "a query that is answered with %j is outdated",
    ([exit]) =>
      Effect.gen(function* () {
        const { error } = yield* call((requestId) => [{ _tag: "Exit", requestId, exit }], false)
        expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "Outdated" } })
      })
  )

  it.effect("a mutation succeeds even if its commit is never delivered", () =>
    Effect.gen(function* () {
      const { exit } = yield* call((requestId) => [{ _tag: "Exit", requestId, exit: { _tag: "Success", value: 3 } }])
      expect(exit).toEqual(Exit.succeed(3))
    })
  )

  it.effect.each([
    [{ _tag: "Committed", version: "x" }],
    [{ _tag: "Delivered", version: null }],
    [{ _tag: "Defect", defect: 1 }]
  ])("%j is an invalid message: resets the connection", ([message]) =>
    Effect.gen(function* () {
      const { list, server } = yield* begin
      server.last.deliver(message)
      yield* settle
      expect(server.sockets[0]!.isOpen).toBe(false)
      expect(list.state).toBe("Stale")
    })
  )
})

describe("C7 C10: calls over HTTP", () => {
  const bodies: ReadonlyArray<readonly [string, number?]> = [
    ["garbage"],
    [""],
    ["null"],
    ["7"],
    ["{}"],
    ["[]"],
    ["[null]"],
    ["[7]"],
    ['[{"_tag":"Exit"}]'],
    ['[{"_tag":"Exit","requestId":"other","exit":{"_tag":"Success","value":1}}]'],
    ['[{"_tag":"Chunk","requestId":"0","values":[1]}]'],
    ["<html>busy</html>", 502],
    ["", 503],
    ["slow down", 429]
  ]
  const calling = Effect.gen(function* () {
    const server = yield* FakeServer.make
    const client = yield* server.provide(Client.make(SmallApi, { url: "http://server.test" }))
    return { server, client }
  })

  it.effect.each(bodies)("%j: a query is unavailable, a mutation has an unknown outcome", ([body, status]) =>
    Effect.gen(function* () {
      const { client, server } = yield* calling
      let calls = 0
      server.onFetch = () => {
        calls++
        return new Response(body, { status: status ?? 200 })
      }
      const query = yield* Effect.forkChild(Effect.flip(client.query("text", {})))
      yield* wait(1000)
      expect(yield* Fiber.join(query)).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      expect(calls).toBeLessThanOrEqual(3)
      calls = 0
      const mutation = yield* Effect.forkChild(Effect.flip(client.mutate("write", { n: 1 })))
      for (let i = 0; i < 61; i++) yield* wait(1000)
      expect(yield* Fiber.join(mutation)).toMatchObject({ _tag: "OutcomeUnknown", tag: "write" })
      expect(calls).toBeLessThan(12)
    })
  )

  it.effect.each([400, 401, 403, 404, 413])("status %i: the mutation did not run, and is not retried", (status) =>
    Effect.gen(function* () {
      const { client, server } = yield* calling
      let calls = 0
      server.onFetch = () => {
        calls++
        return Response.json({ error: "not like this" }, { status })
      }
      const error: any = yield* Effect.flip(client.mutate("write", { n: 1 }))
      // By these a Worker says that the caller may not be here.
      const isRefused = status === 403 || status === 404
      if (isRefused) expect(error).toMatchObject({ _tag: "ConnectionRefused" })
      else expect(error).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
      expect(isRefused ? error.reason : error.reason.detail).toContain("not like this")
      expect(calls).toBe(1)
    })
  )

  it.effect("a refused retry, after an attempt without an answer, leaves the outcome unknown", () =>
    Effect.gen(function* () {
      const { client, server } = yield* calling
      let calls = 0
      server.onFetch = () => new Response("", { status: calls++ === 0 ? 502 : 401 })
      const mutation = yield* Effect.forkChild(Effect.flip(client.mutate("write", { n: 1 })))
      yield* wait(1000)
      expect(yield* Fiber.join(mutation)).toMatchObject({ _tag: "OutcomeUnknown" })
    })
  )
})

describe("C10: frames that are changed at random", () => {
  const rounds = isLong ? 3000 : 150

  it.effect("never make a client fail untyped, or show a value that does not fit the contract", () =>
    Effect.gen(function* () {
      const seed = startSeed()
      const random = new Random(seed)
      for (let round = 0; round < rounds; round++) {
        yield* Effect.gen(function* () {
          const { list, observe, server, shown, text } = yield* begin
          let version = 1
          const bad = (socket: FakeSocket) => {
            const requests = socket.received.filter(({ _tag }) => _tag === "Request")
            if (requests.length === 0) return
            const { id } = random.pick(requests)
            const frame = random.pick([
              snapshot(random.pick([rows, "hello", [], ""]), ++version),
              replaceFirst(version, ++version),
              { _tag: "Current", version: ++version },
              { _tag: "Part", text: JSON.stringify(snapshot("hello", version)), last: random.chance(0.5) }
            ])
            const message = random.pick([
              { _tag: "Chunk", requestId: id, values: [frame] },
              { _tag: "Exit", requestId: id, exit: { _tag: "Success", value: 1 } },
              { _tag: "Delivered", version },
              { _tag: "Committed", requestId: id, version }
            ])
            socket.text(JSON.stringify(mangle(random, message)))
          }
          server.onMessage = (socket) => bad(socket)
          for (let i = 0; i < 20; i++) {
            bad(server.last)
            yield* wait(random.pick([0, 100, 1000, 20_000]))
          }
          for (const value of shown)
            expect(typeof value === "string" || isRows(value), `DORMOUSE_SEED=${seed}`).toBe(true)
          behaveWell(server)
          // Queries that failed are started again.
          const queries = [list, text].map((query, i) => {
            if (query.failure === undefined) return query
            expect(query.failure._tag).toBe("CallError")
            return observe(i === 0 ? "rows" : "text")
          })
          server.last.end()
          for (let i = 0; i < 20; i++) yield* wait(1000)
          for (const { state } of queries) expect(state, `DORMOUSE_SEED=${seed}`).toBe("Live")
        }).pipe(Effect.scoped)
      }
    })
  )

  const isRows = Schema.is(SmallApi.declared.requests.get("rows")!.successSchema as Schema.Codec<unknown>)

  /** Replaces one part of a JSON value, at random. */
  const mangle = (random: Random, value: any): unknown => {
    if (random.chance(0.15) || typeof value !== "object" || value === null) {
      return random.pick([value, value, null, 7, -1, 1e300, "text", "", [], {}, [[]], { _tag: "Chunk" }, true])
    }
    const keys = Object.keys(value)
    if (keys.length === 0) return value
    const key = random.pick(keys)
    if (Array.isArray(value)) return value.map((item, i) => (String(i) === key ? mangle(random, item) : item))
    return { ...value, [key]: mangle(random, value[key]) }
  }
})
