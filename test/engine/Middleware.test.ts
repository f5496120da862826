import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Stream from "effect/Stream"
import { App, type Live } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import { runBatch } from "../../src/engine/rpc/HttpBatch.ts"
import * as RpcTransport from "../../src/engine/rpc/RpcTransport.ts"
import * as ActionRunner from "../../src/engine/worker/ActionRunner.ts"
import { request } from "../deployment/Deployment.ts"
import { changeAttachments, memory } from "../deployment/memory.ts"
import { auth, enter, GuardedApi, guardedApp, guardedReactorApp } from "../worker/guarded.ts"
import { KeepingSocket, makeEngine } from "./EngineHarness.ts"
import { changed, suite } from "./middlewareCases.ts"

suite("The author's middleware in memory", async () => {
  const [app, reacting] = await Promise.all([memory(guardedApp, { auth, enter }), memory(guardedReactorApp)])
  return {
    app,
    reacting,
    close: async () => {
      await Promise.all([app.close(), reacting.close()])
    }
  }
})

it("control: an object whose attachments lose the headers of subscriptions is found out", async () => {
  const restore = changeAttachments((text) => text.replaceAll(/"headers":\[\[.*?\]\]/g, '"headers":[]'))
  const app = await memory(guardedApp)
  try {
    // Without its token the subscriber counts as another caller, who is not refused.
    expect((await changed(app, "nobody", true)).exit).toBe(undefined)
  } finally {
    restore()
    await app.close()
  }
})

it("K6: a live query whose middleware asks who is calling is not shared by callers", async () => {
  const { close, engine, idle, sockets } = await makeEngine(guardedApp)
  const names = ["ada", "bo", "ada"].map((subject) => {
    const socket = new KeepingSocket()
    sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: { subject, claims: {} } })
    engine.sockets.message(socket, JSON.stringify(request("1", "live:guarded.whoami", {}, [["token", "subject"]])))
    idle()
    return socket.messages[0].values[0].value
  })
  expect(names).toEqual(["ada", "bo", "ada"])
  expect(engine.live.explain().map(({ perIdentity, subscribers }) => [perIdentity, subscribers])).toEqual([
    [true, 2],
    [true, 1]
  ])
  await close()
})

it("K5: reactors and streams in the object call with the headers that they are given", async () => {
  const counting = App.react(GuardedApi, {
    name: "count",
    query: "guarded.list",
    queryPayload: {},
    mutation: "guarded.count",
    mutationPayload: (all) => (all.length === 1 ? { count: 1 } : undefined),
    headers: { token: "counter" }
  })
  const { close, engine, idle } = await makeEngine({ ...guardedApp, reactors: [counting] })
  const first = (options?: Live.LiveOptions) =>
    Effect.runPromise(Stream.runHead(engine.local.stream("guarded.whoami", {}, options)))
  // One without headers is the object's own, and shares nothing with the other.
  expect(await first({ headers: { Token: "bo" } })).toEqual(Option.some("bo"))
  expect(await first()).toEqual(Option.some("object"))
  const session = { tenant: "main", identity: { subject: null, claims: {} } }
  const added = request("1", "guarded.add", { text: "one" }, [["token", "bo"]])
  await engine.http.call(session, JSON.stringify(added))
  idle()
  const { body } = await engine.http.call(session, JSON.stringify(request("2", "free.list", {})))
  expect(JSON.parse(body)[0].exit.value).toEqual(["bo: one", "counter: there are 1"])
  await close()
})

describe("K5: middleware without an implementation", () => {
  // What a cast, or an app that is typed as `App<any>`, gets past the compiler.
  const bare = { ...guardedApp, layers: { ...guardedApp.layers, middleware: Layer.empty } }

  it("K5: an object does not start, and names rpc and middleware", async () => {
    await expect(makeEngine(bare)).rejects.toThrow("guarded.list has the middleware test/Guard")
  })

  it("K5: the Worker runs no action, and names rpc and middleware", async () => {
    const runner = ActionRunner.make(bare).pipe(Effect.provide(FetchHttpClient.layer), Effect.scoped)
    await expect(Effect.runPromise(runner)).rejects.toThrow("guarded.list has the middleware test/Guard")
  })
})

it("S2: a defect of the server itself ends each request of its connection", async () => {
  await Effect.gen(function* () {
    // Without its middleware, `RpcServer` dies of a request, and names none.
    const group = guardedApp.api.declared.add(Rpc.make("wait"))
    const handlers = Layer.merge(
      guardedApp.layers.handlers as Layer.Layer<any>,
      group.toLayerHandler("wait", () => Effect.never)
    )
    const server = yield* RpcTransport.make<any>(group).pipe(Effect.provide(handlers))
    const act = (id: string) =>
      ({ _tag: "Request", id, tag: "guarded.act", payload: { text: "one" }, headers: [] }) as const
    const context = Context.empty()
    const answers = yield* Effect.promise(() =>
      runBatch(server, ["1", "2"].map(act), { context, signal: new AbortController().signal, resultBytes: 1000 })
    )
    const socketAnswers: Array<FromServerEncoded> = []
    const connection = server.open((message) => void socketAnswers.push(message))
    for (const id of ["3", "4"]) connection.receive({ ...act(id), tag: "wait", payload: null }, context)
    expect(socketAnswers).toEqual([])
    connection.receive(act("5"), context)
    const all = [...answers, ...socketAnswers]
    expect(all.map((answer) => answer._tag === "Exit" && answer.requestId)).toEqual(["1", "2", "3", "4", "5"])
    for (const answer of all) {
      expect(answer).toMatchObject({ exit: { cause: [{ _tag: "Die", defect: { _tag: "InternalError" } }] } })
    }
  }).pipe(Effect.scoped, Effect.runPromise)
})
