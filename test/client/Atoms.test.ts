import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import type * as Atom from "effect/reactivity/Atom"
import * as AtomRegistry from "effect/reactivity/AtomRegistry"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Query } from "effect-dormouse"
import { Atoms } from "effect-dormouse/atoms"
import { Client } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import { ChatApi } from "../../examples/minimal/api.ts"
import { app } from "../../examples/minimal/app.ts"
import { type ChannelId, Message, MessageId } from "../../examples/minimal/schema.ts"

const test = (name: string, body: () => Effect.Effect<void, any, any>) =>
  it.effect(name, () => body().pipe(Effect.provide(TestApp.layer(app))) as Effect.Effect<void>)

const registry = Effect.acquireRelease(
  Effect.sync(() => AtomRegistry.make()),
  (registry) => Effect.sync(() => registry.dispose())
)

/** Waits until the value of an atom satisfies the predicate. */
const until = <A>(registry: AtomRegistry.AtomRegistry, atom: Atom.Atom<A>, predicate: (value: A) => boolean) =>
  AtomRegistry.toStream(registry, atom).pipe(Stream.filter(predicate), Stream.runHead, Effect.map(Option.getOrThrow))

const bodies = (result: AsyncResult.AsyncResult<ReadonlyArray<Message>, unknown>) =>
  Option.getOrUndefined(Option.map(AsyncResult.value(result), (rows) => rows.map(({ body }) => body)))

const message = (channel: ChannelId, body: string) =>
  new Message({ id: MessageId.make("local"), channel, author: "ada", body, sentAt: DateTime.makeUnsafe(0) })

/** Waits, in real time, until everything in flight has arrived. */
const calm = Effect.promise(async () => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve))
})

const requests = (log: ReadonlyArray<{ readonly data: string }>) =>
  log.filter(({ data }) => data.includes('"tag":"live:messages.list"')).length

test("C14: an atom has the latest value, shared by equal payloads, while it is mounted", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const { object } = yield* TestApp
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    const atoms = Atoms.make(chat)
    const list = () => atoms.live("messages.list", { channel: channel.id, limit: 10 })
    expect(list()).toBe(list())
    const atomRegistry = yield* registry
    expect(atomRegistry.get(list())).toMatchObject({ _tag: "Initial", waiting: true })
    const unmount = atomRegistry.mount(list())
    yield* until(atomRegistry, list(), (result) => bodies(result)?.length === 0)
    yield* chat.mutate("messages.send", { channel: channel.id, author: "ada", body: "one" })
    yield* until(atomRegistry, list(), (result) => bodies(result)?.[0] === "one")
    expect(atomRegistry.get(atoms.connection)._tag).toBe("Live")
    expect(requests(object().network.log)).toBe(1)
    unmount()
    yield* calm
    expect(object().network.log.some(({ data }) => data.includes('"_tag":"Interrupt"'))).toBe(true)
  }))

test("C14: the atom of a query shows its freshness, and keeps its value while the connection is lost", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const { object } = yield* TestApp
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    const atoms = Atoms.make(chat)
    const atomRegistry = yield* registry
    const live = atoms.live("messages.list", { channel: channel.id, limit: 10 })
    const watch = atoms.watch("messages.list", { channel: channel.id, limit: 10 })
    atomRegistry.mount(live)
    atomRegistry.mount(watch)
    atomRegistry.mount(atoms.connection)
    yield* until(atomRegistry, live, AsyncResult.isSuccess)
    expect(atomRegistry.get(live).waiting).toBe(false)
    object().network.cut()
    yield* until(atomRegistry, atoms.connection, ({ _tag }) => _tag === "Stale")
    const stale = atomRegistry.get(watch)
    expect(AsyncResult.isSuccess(stale) && stale.value.connection._tag).toBe("Stale")
    expect(atomRegistry.get(live)).toMatchObject({ _tag: "Success", waiting: true, value: [] })
    yield* TestClock.adjust("2 seconds")
    yield* until(atomRegistry, atoms.connection, ({ _tag }) => _tag === "Live")
    yield* until(atomRegistry, live, ({ waiting }) => !waiting)
  }))

test("C14: the atom of a mutation has the outcome of the latest call, and every call runs", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    const atoms = Atoms.make(chat)
    const atomRegistry = yield* registry
    const list = atoms.live("messages.list", { channel: channel.id, limit: 10 })
    const send = atoms.mutation("messages.send")
    expect(send).toBe(atoms.mutation("messages.send"))
    atomRegistry.mount(list)
    atomRegistry.mount(send)
    yield* until(atomRegistry, list, AsyncResult.isSuccess)
    atomRegistry.set(send, {
      payload: { channel: channel.id, author: "ada", body: "one" },
      optimistic: (view) =>
        view.update("messages.list", { channel: channel.id, limit: 10 }, (rows) => [
          message(channel.id, "one!"),
          ...rows
        ])
    })
    expect(atomRegistry.get(send).waiting).toBe(true)
    expect(bodies(atomRegistry.get(list))).toEqual(["one!"])
    atomRegistry.set(send, { payload: { channel: channel.id, author: "ada", body: "two" } })
    const sent = yield* until(atomRegistry, send, (result) => AsyncResult.isSuccess(result) && !result.waiting)
    expect(AsyncResult.isSuccess(sent) && sent.value.body).toBe("two")
    yield* until(atomRegistry, list, (result) => bodies(result)?.join() === "two,one")
    atomRegistry.set(send, { payload: { channel: "nowhere" as ChannelId, author: "ada", body: "three" } })
    const failed = yield* until(atomRegistry, send, AsyncResult.isFailure)
    expect(Option.getOrUndefined(AsyncResult.error(failed))).toMatchObject({ _tag: "ChannelNotFound" })
  }))

test("C14: a mutation runs to its end when its atom is unmounted", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    const atoms = Atoms.make(chat)
    const atomRegistry = yield* registry
    const unmount = atomRegistry.mount(atoms.mutation("messages.send"))
    atomRegistry.set(atoms.mutation("messages.send"), { payload: { channel: channel.id, author: "ada", body: "one" } })
    unmount()
    yield* calm
    expect((yield* chat.query("messages.list", { channel: channel.id, limit: 10 })).map(({ body }) => body)).toEqual([
      "one"
    ])
  }))

test("C14: the client of a layer is closed with the registry", () =>
  Effect.gen(function* () {
    const { object, transport, url } = yield* TestApp
    class Chat extends Client.Service<Chat>()("test/Chat", ChatApi) {}
    const atoms = Atoms.fromLayer(Chat, Layer.provide(Chat.layer({ url }), transport))
    const atomRegistry = AtomRegistry.make()
    const channels = atoms.live("channels.list", {})
    atomRegistry.mount(channels)
    yield* until(atomRegistry, channels, AsyncResult.isSuccess)
    expect(object().network.wires.size).toBe(1)
    atomRegistry.dispose()
    yield* calm
    expect(object().network.wires.size).toBe(0)
  }))

class Refusing extends Schema.TaggedError<Refusing>()("Refusing", {}) {}
class RefusingApi extends Api.make(Query.make("refuse", { success: Schema.Int, error: Refusing })) {}
const refusingApp = App.make({
  api: RefusingApi,
  tables: [],
  handlers: RefusingApi.toLayer({ refuse: () => Effect.fail(new Refusing()) })
})

it.effect("C14: an atom fails with the error of its query", () =>
  Effect.gen(function* () {
    const atoms = Atoms.make(yield* TestApp.client(RefusingApi))
    const atomRegistry = yield* registry
    const refused = atoms.live("refuse", undefined)
    atomRegistry.mount(refused)
    const result = yield* until(atomRegistry, refused, AsyncResult.isFailure)
    expect(Option.getOrUndefined(AsyncResult.error(result))).toMatchObject({ _tag: "Refusing" })
  }).pipe(Effect.provide(TestApp.layer(refusingApp)))
)
