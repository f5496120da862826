import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Action, Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { ChatApi } from "../../examples/minimal/api.ts"
import { app } from "../../examples/minimal/app.ts"
import { turns } from "../deployment/memory.ts"

it.effect("R2: the stock client calls and watches an app in memory, across an eviction", () =>
  Effect.gen(function* () {
    const rpc = yield* TestApp.rpc(ChatApi)
    const channel = yield* rpc("channels.create", { name: "general" })
    const watching = yield* rpc("live:messages.list", { channel: channel.id, limit: 10 }).pipe(
      Stream.takeUntil((frame) => frame._tag === "Snapshot" && frame.value.length === 2),
      Stream.runCollect,
      Effect.forkChild({ startImmediately: true })
    )
    yield* rpc("messages.send", { channel: channel.id, author: "ada", body: "one" })
    const { object } = yield* TestApp
    yield* Effect.promise(() => object().evict())
    // Keys of one millisecond ascend only within one heap.
    yield* TestClock.adjust("1 second")
    yield* rpc("messages.send", { channel: channel.id, author: "ada", body: "two" })
    const frames = yield* Fiber.join(watching)
    const last = frames.at(-1)!
    expect(last._tag === "Snapshot" && last.value.map((message) => message.body)).toEqual(["two", "one"])
    expect(object().starts).toBe(2)
  }).pipe(Effect.provide(TestApp.layer(app)))
)

class NumbersApi extends Api.make(Action.make("numbers", { payload: {}, success: Schema.Int, stream: true })) {}

it.effect("L10, R2: a stream waits for its reader until the object is evicted, and its action then ends", () => {
  let emitted = 0
  let isEnded = false
  const numbers = Stream.range(1, 1000).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.sync(() => void emitted++)),
    Stream.ensuring(
      Effect.sync(() => {
        isEnded = true
      })
    )
  )
  const app = App.make({ api: NumbersApi, tables: [], handlers: NumbersApi.toLayer({ numbers: () => numbers }) })
  return Effect.gen(function* () {
    const rpc = yield* TestApp.rpc(NumbersApi)
    yield* rpc("numbers", {}).pipe(
      Stream.runForEach(() => Effect.never),
      Effect.forkChild
    )
    yield* Effect.promise(() => expect.poll(() => emitted).toBeGreaterThan(10))
    yield* Effect.promise(turns)
    expect([emitted < 50, isEnded]).toEqual([true, false])
    const { object } = yield* TestApp
    yield* Effect.promise(() => object().evict())
    yield* Effect.promise(() => expect.poll(() => isEnded).toBe(true))
    expect(emitted).toBe(1000)
  }).pipe(Effect.provide(TestApp.layer(app)))
})

it.effect("R2: an object whose first commit after a start fails starts again", () =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    object().failNextCommit()
    const rpc = yield* TestApp.rpc(ChatApi)
    const { name } = yield* rpc("channels.create", { name: "general" })
    expect(name).toBe("general")
    // The commit of the start itself failed: that heap is lost, and the call is of the next one.
    expect(object().starts).toBe(2)
  }).pipe(Effect.provide(TestApp.layer(app)))
)

it("R2: a handshake that arrives after the end of the backend starts no object, and its socket is closed", async () => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.build(TestApp.layer(app)).pipe(Scope.provide(scope)))
  const object = Context.get(context, TestApp).object()
  object.network.hold()
  const session = { tenant: "main", identity: { subject: null, claims: {} } }
  const arrived = Promise.withResolvers<void>()
  const socket = object.connect(async () => {
    arrived.resolve()
    return session
  })
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve))
  await Effect.runPromise(Scope.close(scope, Exit.void))
  object.network.release()
  await arrived.promise
  expect(await closed).toMatchObject({ code: 1006 })
  expect(object.starts).toBe(0)
})

class Outside extends Context.Service<Outside, { readonly name: string }>()("test/Outside") {}
class Tag extends Context.Service<Tag, { readonly text: string }>()("test/Tag") {}
class Tagging extends RpcMiddleware.Service<Tagging, { provides: Tag }>()("test/Tagging") {}

class SwappedApi extends Api.make(
  Query.make("who", { success: Auth.Identity }),
  Query.make("outside", { success: Schema.String }),
  Query.make("tagged", { success: Schema.String }).middleware(Tagging),
  Action.make("fetched", { success: Schema.String }),
  Action.make("outside.act", { success: Schema.String })
) {}

const named = (name: string) => Layer.succeed(Outside, { name })
const tagging = (text: string) => Layer.succeed(Tagging, (effect) => Effect.provideService(effect, Tag, { text }))

const swapped = App.make({
  api: SwappedApi,
  tables: [],
  handlers: SwappedApi.toLayer({
    who: () => Auth.identity,
    outside: () => Effect.map(Outside, ({ name }) => name),
    tagged: () => Effect.map(Tag, ({ text }) => text),
    fetched: () => Effect.orDie(Effect.flatMap(HttpClient.get("https://example.test"), ({ text }) => text)),
    "outside.act": () => Effect.map(Outside, ({ name }) => name)
  }),
  services: named("deployed"),
  actionServices: named("deployed worker"),
  middleware: tagging("deployed")
})

const all = Effect.gen(function* () {
  const rpc = yield* TestApp.rpc(SwappedApi)
  return {
    who: yield* rpc("who", undefined),
    outside: yield* rpc("outside", undefined),
    act: yield* rpc("outside.act", undefined),
    tagged: yield* rpc("tagged", undefined)
  }
})

const deployed = { who: Auth.anonymous, outside: "deployed", act: "deployed worker", tagged: "deployed" }

it.effect("R2: without options, an app in memory has its own layers", () =>
  Effect.map(all, (values) => expect(values).toEqual(deployed)).pipe(Effect.provide(TestApp.layer(swapped)))
)

const http = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response("from the test"))))
)
const ada = { subject: "ada", claims: { team: "a" } }

const swaps: ReadonlyArray<readonly [string, Parameters<typeof TestApp.layer<any, any, any, any>>[1], object]> = [
  ["services", { services: named("test") }, { outside: "test" }],
  ["actionServices", { actionServices: named("test") }, { act: "test" }],
  ["middleware", { middleware: tagging("test") }, { tagged: "test" }],
  ["identity", { identity: ada }, { who: ada }],
  [
    "auth",
    {
      auth: Auth.layer(() => Effect.succeed(Option.some({ identity: ada, credential: Auth.noCredential }))),
      enter: () => true
    },
    { who: ada }
  ]
]
for (const [option, options, changed] of swaps) {
  it.effect(`R2: \`${option}\` is swapped, and nothing else`, () =>
    Effect.map(all, (values) => expect(values).toEqual({ ...deployed, ...changed })).pipe(
      Effect.provide(TestApp.layer(swapped, options as never))
    )
  )
}

it.effect("R2: `http` is what actions do their requests with", () =>
  Effect.gen(function* () {
    const rpc = yield* TestApp.rpc(SwappedApi)
    expect(yield* rpc("fetched", undefined)).toBe("from the test")
  }).pipe(Effect.provide(TestApp.layer(swapped, { http })))
)
