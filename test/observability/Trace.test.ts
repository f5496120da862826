import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as Tracer from "effect/Tracer"
import { Action, Api, App, Calls, Mutation, Query, Storage, Table } from "effect-dormouse"
import { Policy } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import * as Transport from "../../src/client/Transport.ts"

class Line extends Model.Class<Line>("test/Line")({ id: Table.key(Schema.String), text: Schema.String }) {}
const lines = Table.make("lines", Line, { key: "id" })

class TracedApi extends Api.make(
  Query.make("lines.list", { success: Schema.Array(Schema.String) }),
  Mutation.make("lines.add", { payload: { text: Schema.String } }),
  Mutation.make("lines.count", { payload: { count: Schema.Int } }),
  Action.make("lines.fetch", { payload: { text: Schema.String } })
) {}

const handlers = TracedApi.toLayer({
  "lines.list": Effect.fn("list")(function* () {
    yield* Effect.log("listing")
    return (yield* lines.query()).map(({ text }) => text)
  }),
  "lines.add": Effect.fn("add")(function* ({ text }) {
    yield* Effect.log("adding")
    yield* lines.insert({ text })
  }),
  "lines.count": () => Effect.log("counting"),
  "lines.fetch": Effect.fn("fetch")(function* ({ text }) {
    yield* Effect.log("fetching")
    const calls = yield* Calls.of(TracedApi)
    yield* Effect.orDie(calls.mutate("lines.add", { text }))
  })
})

const app = App.make({ api: TracedApi, tables: [lines], handlers })
const reacting = App.make({
  api: TracedApi,
  tables: [lines],
  handlers,
  reactors: [
    App.react(TracedApi, {
      name: "count",
      query: "lines.list",
      queryPayload: undefined,
      mutation: "lines.count",
      mutationPayload: ({ length }) => ({ count: length })
    })
  ]
})

/** A tracer that keeps its spans. */
const collecting = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

/** The names from a span up to the root of its trace. */
const lineage = (spans: ReadonlyArray<Tracer.NativeSpan>, span: Tracer.NativeSpan): ReadonlyArray<string> => {
  const names = [span.name]
  let id = Option.map(span.parent, ({ spanId }) => spanId)
  while (Option.isSome(id)) {
    const { value } = id
    const parent = spans.find(({ spanId }) => spanId === value)
    if (parent === undefined) break
    names.push(parent.name)
    id = Option.map(parent.parent, ({ spanId }) => spanId)
  }
  return names
}

const turns = Effect.promise(async () => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
})

const identity = { subject: "ada", claims: {} }

for (const way of ["socket", "http"] as const) {
  it.effect(`one trace from the client's span to the delivery, over ${way}`, () => {
    const { layer, spans } = collecting()
    return Effect.gen(function* () {
      const client = yield* TestApp.client(TracedApi)
      // A second client watches, so that there is something to deliver; the socket of the first is open only in one case.
      const watching = yield* TestApp.client(TracedApi)
      const seen: Array<ReadonlyArray<string>> = []
      const watch = (c: typeof client) =>
        c.live("lines.list", undefined).pipe(
          Stream.runForEach((value) => Effect.sync(() => void seen.push(value))),
          Effect.forkChild
        )
      yield* watch(watching)
      if (way === "socket") yield* watch(client)
      while (seen.length < (way === "socket" ? 2 : 1)) yield* turns
      spans.length = 0
      yield* Effect.withSpan(client.mutate("lines.add", { text: "one" }), "page")
      while (!seen.some((value) => value.includes("one"))) yield* turns
      yield* turns
      const root = spans.find(({ name }) => name === "page")!
      const traced = spans.filter(({ traceId }) => traceId === root.traceId)
      const paths = traced.map((span) => lineage(spans, span).toReversed().join(" > "))
      const gateway = way === "http" ? "dormouse.gateway > " : ""
      const clientSpan = paths.find((path) => /^page > [^>]*lines\.add$/.test(path))
      expect(clientSpan).toBeDefined()
      const call = `${clientSpan} > ${gateway}dormouse.lines.add`
      expect(paths).toContain(call)
      expect(paths).toContain(`${call} > dormouse.transaction > add`)
      expect(paths).toContain(`${call} > dormouse.transaction > dormouse.flush`)
      expect(paths).toContain(`${call} > dormouse.transaction > dormouse.flush > dormouse.delivery`)
      const query = `${call} > dormouse.transaction > dormouse.flush > dormouse.lines.list`
      expect(paths).toContain(`${query} > dormouse.transaction > list`)
      const named = (name: string) => traced.find((span) => span.name === name)!
      expect(named("dormouse.flush").attributes.get("dormouse.live.runs")).toBe(1)
      expect(named("dormouse.delivery").attributes.get("dormouse.live.frames")).toBe(way === "socket" ? 2 : 1)
      expect(named("dormouse.flush").attributes.get("dormouse.tenant")).toBe("main")
      expect(named("dormouse.lines.add").attributes.get("rpc.method")).toBe("lines.add")
    }).pipe(Effect.provide(TestApp.layer(app, { identity }).pipe(Layer.provideMerge(layer))))
  })
}

for (const way of ["socket", "http"] as const) {
  it.effect(`an action and what it calls belong to one trace, over ${way}`, () => {
    const { layer, spans } = collecting()
    return Effect.gen(function* () {
      const client = yield* TestApp.client(TracedApi)
      const seen: Array<unknown> = []
      if (way === "socket") {
        yield* client.live("lines.list", undefined).pipe(
          Stream.runForEach((value) => Effect.sync(() => void seen.push(value))),
          Effect.forkChild
        )
        while (seen.length === 0) yield* turns
      }
      spans.length = 0
      yield* Effect.withSpan(client.act("lines.fetch", { text: "one" }), "page")
      const root = spans.find(({ name }) => name === "page")!
      const traced = spans.filter(({ traceId }) => traceId === root.traceId)
      const paths = traced.map((span) => lineage(spans, span).toReversed().join(" > "))
      const call = paths.find((path) => /^page > .*dormouse\.lines\.fetch$/.test(path))
      expect(call).toBeDefined()
      const called = paths.filter((path) => path.startsWith(`${call} > `) && path.endsWith("dormouse.lines.add"))
      expect(called).toHaveLength(1)
      expect(paths).toContain(`${called[0]} > dormouse.transaction > add`)
      // No call of the action has a trace of its own.
      expect(spans.filter(({ name }) => name === "dormouse.lines.add")).toHaveLength(1)
    }).pipe(Effect.provide(TestApp.layer(app).pipe(Layer.provideMerge(layer))))
  })
}

const denies = Policy.make(lines, {})

for (const policies of [[denies], []]) {
  const name = policies.length === 0 ? "no policies" : "policies"
  it.effect(
    `P5: an effect without policies is in a span of that name, however it was called, in an app with ${name}`,
    () => {
      const { layer, spans } = collecting()
      const insert = (text: string) => Effect.withSpan(lines.insert({ text }), "insert")
      const guarded = App.make({
        api: TracedApi,
        tables: [lines],
        policies,
        handlers: TracedApi.toLayer({
          "lines.list": () => Effect.as(Storage.unrestricted(Effect.withSpan(lines.query(), "read")), []),
          "lines.add": ({ text }) =>
            Storage.unrestricted(Effect.andThen(insert(text), Storage.unrestricted(insert(text)))),
          "lines.count": () =>
            Effect.flatMap(Storage.Storage, (storage) => Effect.asVoid(storage.unrestricted(insert("counted")))).pipe(
              Effect.orDie
            ),
          "lines.fetch": () => Effect.void
        })
      })
      return Effect.gen(function* () {
        const client = yield* TestApp.client(TracedApi)
        const pathsOf = (call: Effect.Effect<unknown, unknown>, inner: string) =>
          Effect.gen(function* () {
            spans.length = 0
            yield* Effect.orDie(call)
            return spans
              .filter(({ name }) => name === inner)
              .map((span) => {
                const path = lineage(spans, span).toReversed()
                return path.slice(path.indexOf("dormouse.transaction") + 1).join(" > ")
              })
          })
        expect(yield* pathsOf(client.query("lines.list", undefined), "read")).toEqual(["Storage.unrestricted > read"])
        expect(yield* pathsOf(client.mutate("lines.add", { text: "one" }), "insert")).toEqual([
          "Storage.unrestricted > insert",
          "Storage.unrestricted > Storage.unrestricted > insert"
        ])
        expect(yield* pathsOf(client.mutate("lines.count", { count: 1 }), "insert")).toEqual([
          "Storage.unrestricted > insert"
        ])
      }).pipe(Effect.provide(TestApp.layer(guarded).pipe(Layer.provideMerge(layer))))
    }
  )
}

it.effect("T5: the span that the Worker adds to a body does not count for requestBytes and requestDepth", () => {
  const { layer } = collecting()
  const text = JSON.stringify({ _tag: "Request", id: "1", tag: "lines.add", payload: { text: "x" }, headers: [] })
  const limits = { requestBytes: text.length, requestDepth: 2 }
  const limited = App.make({ api: TracedApi, tables: [lines], handlers, limits })
  return Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const post = yield* Effect.provide(Transport.Fetch, transport)
    const send = (body: string) => Effect.promise(() => post(`${url}/rpc`, { method: "POST", body }))
    const response = yield* send(text)
    expect([response.status, yield* Effect.promise(() => response.json())]).toMatchObject([
      200,
      [{ exit: { _tag: "Success" } }]
    ])
    // The control: what the client itself sends counts.
    expect((yield* send(`${text} `)).status).toBe(413)
  }).pipe(Effect.provide(TestApp.layer(limited).pipe(Layer.provideMerge(layer))))
})

it.effect("without a tracer no span is made", () => {
  const made: Array<string> = []
  const original = Tracer.NativeSpan.prototype.end
  Tracer.NativeSpan.prototype.end = function (this: Tracer.NativeSpan, ...args) {
    made.push(this.name)
    return original.apply(this, args)
  }
  return Effect.gen(function* () {
    const { object } = yield* TestApp
    const { http } = yield* Effect.promise(() => object().engine())
    const call = (tag: string, payload: unknown) =>
      Effect.promise(() =>
        http.call(
          { tenant: "main", identity },
          JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [], traceId: "t", spanId: "s" })
        )
      )
    yield* call("lines.add", { text: "one" })
    expect((yield* call("lines.list", null)).body).toContain("one")
    yield* turns
    expect(made).toEqual([])
  }).pipe(
    Effect.provide(TestApp.layer(app)),
    Effect.ensuring(
      Effect.sync(() => {
        Tracer.NativeSpan.prototype.end = original
      })
    )
  )
})

it.effect("log lines carry tenant, subject and rpc: of calls, live queries, reactions and actions", () => {
  const logged: Array<Record<string, unknown>> = []
  const logger = Logger.map(Logger.formatStructured, ({ annotations, message }) => {
    logged.push({ message, ...annotations })
  })
  const logging = Logger.layer([logger])
  const seen = (message: string) => logged.filter((line) => line["message"] === message)
  const ada = { tenant: "acme", subject: "ada" }
  const calls = Effect.gen(function* () {
    const client = yield* TestApp.client(TracedApi, { tenant: "acme" })
    const rpc = yield* TestApp.rpc(TracedApi, { tenant: "acme" })
    yield* client.query("lines.list", undefined)
    yield* client.act("lines.fetch", { text: "one" })
    expect(seen("listing")).toContainEqual({ message: "listing", ...ada, rpc: "lines.list" })
    expect(seen("adding")).toEqual([{ message: "adding", ...ada, rpc: "lines.add" }])
    expect(seen("fetching")).toEqual([{ message: "fetching", ...ada, rpc: "lines.fetch" }])
    logged.length = 0
    yield* rpc("live:lines.list", undefined).pipe(Stream.take(1), Stream.runDrain)
    expect(seen("listing")).toEqual([{ message: "listing", ...ada, rpc: "lines.list" }])
  }).pipe(Effect.provide(TestApp.layer(app, { identity }).pipe(Layer.provideMerge(logging))))
  const reactions = Effect.gen(function* () {
    const client = yield* TestApp.client(TracedApi, { tenant: "acme" })
    yield* client.mutate("lines.add", { text: "one" })
    yield* turns
    // The object itself reacts.
    expect(seen("counting")).toEqual([{ message: "counting", tenant: "acme", subject: null, rpc: "lines.count" }])
  }).pipe(Effect.provide(TestApp.layer(reacting, { identity }).pipe(Layer.provideMerge(logging))))
  return Effect.andThen(calls, reactions)
})
