/// <reference types="node" />
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import { expect, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import { Api, App, Handlers } from "effect-dormouse"
import * as Server from "../../examples/chat/server.ts"
import { ChannelExists, ChatApi } from "../../examples/minimal/api.ts"
import { Channel } from "../../examples/minimal/schema.ts"
import { evicting } from "../deployment/evicting.ts"
import { changeAttachments, memory } from "../deployment/memory.ts"
import { GuardedApi, GuardLive, guardedHandlers, lines, NamesLive } from "../worker/guarded.ts"
import { marks, NotesApi, NotesHandlers, notes } from "../worker/notes.ts"
import { converse, evictions, Here, suite } from "./stockClientCases.ts"

/** The app of notes, and of notes that are guarded. */
const both = App.make({
  api: Api.merge(NotesApi, GuardedApi),
  tables: [notes, marks, lines],
  handlers: Handlers.merge(NotesHandlers, guardedHandlers),
  middleware: GuardLive,
  services: NamesLive,
  actionServices: NamesLive
})

const inMemory = Effect.acquireRelease(
  Effect.promise(() => memory(both)),
  ({ close }) => Effect.promise(close)
)
const evicted = Layer.effect(Here, Effect.map(inMemory, evicting))

suite("The stock client in memory", Layer.effect(Here, inMemory))
suite("The stock client in memory, with an eviction between every two messages", evicted)
evictions("Evictions between every two messages in memory", evicted, 19)

it.effect("control: an object whose attachments lose the subscriptions is found out", () =>
  Effect.gen(function* () {
    const restore = changeAttachments((text) => JSON.stringify({ ...JSON.parse(text), subscriptions: [] }))
    yield* Effect.addFinalizer(() => Effect.sync(restore))
    expect((yield* converse(evicting(yield* inMemory))).frames).toBe(1)
  }).pipe(Effect.scoped)
)

/** The URL of the chat of examples/minimal in a workerd of its own. */
class Url extends Context.Service<Url, string>()("test/Url") {
  static readonly layer = Layer.effect(
    Url,
    Effect.gen(function* () {
      const data = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "dormouse-test-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      )
      return yield* Server.make({
        port: 0,
        data,
        worker: fileURLToPath(new URL("../../examples/minimal/worker.ts", import.meta.url))
      })
    })
  )
}

layer(Url.layer, { excludeTestServices: true, timeout: 300_000 })("The stock client and a process of its own", (it) => {
  const connect = (protocol: Layer.Layer<RpcClient.Protocol, never, RpcSerialization.RpcSerialization>) =>
    Effect.gen(function* () {
      const built = yield* Layer.build(Layer.provide(protocol, RpcSerialization.layerJson))
      return yield* RpcClient.make(ChatApi, { flatten: true }).pipe(Effect.provideContext(built))
    })
  const overHttp = Effect.flatMap(Url, (url) =>
    connect(Layer.provide(RpcClient.layerProtocolHttp({ url: `${url}/rpc` }), FetchHttpClient.layer))
  )
  const overSocket = Effect.flatMap(Url, (url) => {
    const socket = Socket.layerWebSocket(`${url.replace("http", "ws")}/rpc`)
    return connect(
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(socket),
        // The process's own WebSocket.
        Layer.provide(Socket.layerWebSocketConstructorGlobal)
      )
    )
  })

  it.effect("L10: HTTP and a real socket reach the same object", () =>
    Effect.gen(function* () {
      const [http, socket] = [yield* overHttp, yield* overSocket]
      const channel = yield* http("channels.create", { name: "general" })
      expect(channel).toBeInstanceOf(Channel)
      expect(yield* socket("channels.list", {})).toEqual([channel])
      for (const rpc of [http, socket]) {
        const error = yield* Effect.flip(rpc("channels.create", { name: "general" }))
        expect(error).toBeInstanceOf(ChannelExists)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("L10: a live query over a real socket follows writes over HTTP, and can be ended", () =>
    Effect.gen(function* () {
      const [http, socket] = [yield* overHttp, yield* overSocket]
      const names: Array<ReadonlyArray<string>> = []
      const watching = yield* socket("live:channels.list", {}).pipe(
        Stream.runForEach((frame) =>
          Effect.sync(() => {
            if (frame._tag === "Snapshot") names.push(frame.value.map(({ name }) => name))
            else names.push([frame._tag])
          })
        ),
        Effect.forkChild
      )
      const until = (condition: () => boolean) => Effect.promise(() => expect.poll(condition).toBe(true))
      yield* until(() => names.length === 1)
      yield* http("channels.create", { name: "random" })
      yield* until(() => names.length === 2)
      expect(names[0]).toEqual(["general"])
      yield* Fiber.interrupt(watching)
      yield* http("channels.create", { name: "unseen" })
      expect((yield* socket("channels.list", {})).map(({ name }) => name)).toEqual(["general", "random", "unseen"])
      expect(names).toHaveLength(2)
    }).pipe(Effect.scoped)
  )
})
