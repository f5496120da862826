/// <reference types="node" />
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { RequestEncoded } from "effect/rpc/RpcMessage"
import * as Scope from "effect/Scope"
import type { App } from "effect-dormouse"
import { describe, expect, it } from "vitest"
import { CurrentIdentity } from "../../src/contract/Auth.ts"
import { runBatch } from "../../src/engine/rpc/HttpBatch.ts"
import * as KindMiddleware from "../../src/engine/rpc/KindMiddleware.ts"
import * as RpcTransport from "../../src/engine/rpc/RpcTransport.ts"
import { request } from "../deployment/Deployment.ts"
import { forAllAsync } from "../random.ts"
import { guardedApp } from "../worker/guarded.ts"
import { app, Ending, limited } from "../worker/notes.ts"
import { type EngineHarness, makeEngine } from "./EngineHarness.ts"
import { makeRandomApp, randomRead, randomWrite } from "./randomApp.ts"

/**
 * Effect's `RpcServer` as the oracle of the executor: the same calls, on equal databases, at one time and with equal
 * randomness, must give the same messages to the byte.
 */

const identity = { subject: "ada", claims: { team: "a" } }

/** The calls through `RpcServer`, with the same handlers and the executor's kinds as middleware. */
const throughRpcServer = async (
  { context, engine }: EngineHarness,
  app: App.App<any>,
  requests: ReadonlyArray<RequestEncoded>
): Promise<ReadonlyArray<string>> => {
  const scope = Scope.makeUnsafe()
  // `App.make` saw that the services are what the handlers and the middleware ask for.
  const own = Layer.provide(Layer.merge(app.layers.handlers, app.layers.middleware), app.layers.services)
  const layers = Layer.merge(own as Layer.Layer<never>, KindMiddleware.objectLayer(engine.executor.kinds))
  const group: RpcGroup.RpcGroup<any> = app.api.declared
  const messages: Array<string> = []
  await Effect.runPromiseWith(context)(
    Effect.gen(function* () {
      const services: Context.Context<any> = yield* Layer.build(layers)
      const server = yield* Effect.provideContext(RpcTransport.make(group), services)
      for (const each of requests) {
        const answers = yield* Effect.promise(() =>
          runBatch(server, [each], {
            context: Context.make(CurrentIdentity, identity),
            signal: new AbortController().signal,
            resultBytes: app.limits.resultBytes
          })
        )
        for (const answer of answers) messages.push(RpcTransport.encodeMessage(answer, app.limits))
      }
    }).pipe(Scope.provide(scope))
  )
  return messages
}

const throughExecutor = async (
  { engine, idle }: EngineHarness,
  requests: ReadonlyArray<RequestEncoded>
): Promise<ReadonlyArray<string>> => {
  const messages: Array<string> = []
  for (const each of requests) {
    const answer = engine.http.call({ tenant: "main", identity }, JSON.stringify([each]))
    idle()
    const { body } = await answer
    if (body !== "[]") messages.push(body.slice(1, -1))
  }
  return messages
}

/** An interruption names its fiber, and fibers are counted for the whole process. */
const withoutFiberIds = (message: string): string => message.replace(/"fiberId":\d+/g, '"fiberId":0')

const compare = async (app: App.App<any>, requests: ReadonlyArray<RequestEncoded>): Promise<number> => {
  const [ours, oracle] = [await makeEngine(app), await makeEngine(app)]
  try {
    const [actual, expected] = [await throughExecutor(ours, requests), await throughRpcServer(oracle, app, requests)]
    expect(actual.map(withoutFiberIds)).toEqual(expected.map(withoutFiberIds))
    return actual.length
  } finally {
    await Promise.all([ours.close(), oracle.close()])
  }
}

const call = (id: string | number, tag: string, payload: unknown, more: object = {}): any => ({
  ...request(id, tag, payload),
  ...more
})

describe("RpcServer gives the same messages as the executor", () => {
  const cases: Record<string, ReadonlyArray<any>> = {
    "results of every shape": [
      call(1, "notes.add", { body: "one" }),
      call("b", "notes.add", { body: "two" }),
      call("c", "notes.list", {}),
      call("d", "notes.named", { body: "one" }),
      call("e", "notes.namedBySql", { body: "two" }),
      call("f", "notes.page", { size: 1 }),
      call("g", "notes.pageByBody", { size: 5 }),
      call("h", "nothing", null),
      call("i", "nothingDone", null),
      call("j", "whoami", {}),
      call("k", "echo", { value: { "a\u2028": [null, -0, 1e21, "\ud83d\ude00", {}] } }),
      call("l", "keys", { record: { b: 1, a: 2, __proto__: 3 } }),
      call("m", "look", {}),
      call("n", "lookAndAdd", {}),
      call("o", "notes.addHalf", {}),
      call("p", "notes.list", {})
    ],
    "every ending": Ending.literals.flatMap((ending, i) => [
      call(`q${i}`, "end", { ending }),
      call(`m${i}`, "notes.addAndEnd", { ending }),
      call(`l${i}`, "notes.list", {})
    ]),
    "requests that cannot be read": [
      call("a", "notes.add", { body: "" }),
      call("b", "notes.add", { body: 7 }),
      call("c", "notes.add", null),
      call("d", "notes.list", "what"),
      call("e", "no.such.rpc", {}),
      call("f", "notes.page", { size: 1, after: "no cursor" })
    ],
    "notifications and discarded calls": [
      call("a", "notes.add", { body: "one" }, { isNotification: true }),
      call("b", "notes.add", { body: "two" }, { discard: true }),
      call("c", "notes.add", { body: "" }, { discard: true }),
      call("d", "notes.addAndEnd", { ending: "typed failure" }, { discard: true }),
      call("e", "notes.addAndEnd", { ending: "defect" }, { isNotification: true }),
      call("f", "end", { ending: "typed failure" }, { discard: true }),
      call("g", "no.such.rpc", {}, { isNotification: true }),
      call("h", "notes.list", {})
    ],
    "numbered mutations": [
      call("a", "notes.add", { body: "one" }, { headers: [["dormouse-mutation", "client-id/1"]] }),
      call("b", "notes.add", { body: "one" }, { headers: [["dormouse-mutation", "client-id/1"]] }),
      call("c", "notes.addAndEnd", { ending: "typed failure" }, { headers: [["dormouse-mutation", "client-id/2"]] }),
      call("d", "notes.addAndEnd", { ending: "typed failure" }, { headers: [["Dormouse-Mutation", "client-id/2"]] }),
      call("e", "notes.addAndEnd", { ending: "defect" }, { headers: [["dormouse-mutation", "client-id/3"]] }),
      call("f", "notes.addAndEnd", { ending: "defect" }, { headers: [["dormouse-mutation", "client-id/3"]] }),
      call("g", "notes.addHalf", {}, { headers: [["dormouse-mutation", "client-id/1"]] }),
      call("h", "notes.add", { body: "x" }, { headers: [["dormouse-mutation", "none"]] }),
      call("i", "header", { name: "dormouse-mutation" }, { headers: [["dormouse-mutation", "client-id/9"]] }),
      call("j", "notes.list", {})
    ],
    headers: [
      call("a", "header", { name: "x-a" }, { headers: [["X-A", "1"]] }),
      call("b", "header", { name: "x-b" }, { headers: [["X-A", "1"]] })
    ]
  }

  for (const [name, requests] of Object.entries(cases)) {
    it(name, async () => {
      expect(await compare(app, requests)).toBeGreaterThan(0)
    })
  }

  it("limits", async () => {
    await compare(limited, [
      call("a", "notes.addMany", { count: 11, body: "x" }),
      call("b", "notes.addMany", { count: 10, body: "x" }),
      call("c", "notes.addMany", { count: 10, body: "x" }),
      call("d", "notes.addMany", { count: 10, body: "x" }),
      call("e", "notes.list", {}),
      call("f", "text", { length: 1999, unit: "x" }),
      call("g", "text", { length: 2000, unit: "x" }),
      call("h", "text", { length: 700, unit: "\uffff" }),
      call("i", "notes.add", { body: "x".repeat(2500) })
    ])
  })

  it("the author's middleware, around results, failures and itself", async () => {
    for (const token of ["ada", "nobody", "broken", "late", "other value"]) {
      const headers = [["token", token]]
      const calls = [
        call("a", "guarded.add", { text: "one" }, { headers }),
        call("b", "guarded.list", {}, { headers }),
        call("c", "guarded.fail", {}, { headers }),
        call("d", "guarded.add", { text: "two" }, { headers: [...headers, ["dormouse-mutation", "client-id/1"]] }),
        call("e", "guarded.add", { text: "two" }, { headers: [...headers, ["dormouse-mutation", "client-id/1"]] }),
        call("f", "guarded.add", { text: "" }, { headers, discard: true }),
        call("g", "guarded.list", {}, { headers })
      ]
      // `RpcServer` waits for the middleware of a query; K5 is that the executor does not.
      await compare(guardedApp, token === "late" ? calls.filter(({ tag }) => tag === "guarded.add") : calls)
    }
  })

  it("random programs over random tables", async () => {
    await forAllAsync(25, async (random) => {
      const world = makeRandomApp(random)
      const requests = random.array(40, (i) =>
        random.chance(0.5)
          ? call(i, "write", { program: randomWrite(random, world) })
          : call(i, "read", { program: randomRead(random, world) })
      )
      await compare(world.app, requests)
    })
  })
})
