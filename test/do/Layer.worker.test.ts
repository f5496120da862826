import { createExecutionContext, env, runInDurableObject } from "cloudflare:test"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Action, Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { afterEach, expect, it, vi } from "vitest"
import { objectUrl, sessionHeaders } from "../../src/engine/rpc/SessionHeader.ts"
import { errorOf } from "../deployment/Deployment.ts"

/** `Cloudflare.serve(app, { layer })`: what Worker and object have of the author's. */

class SeenApi extends Api.make(
  Query.make("object.seen", { success: Schema.Array(Schema.String) }),
  Action.make("worker.seen", { success: Schema.Array(Schema.String) })
) {}

/** A binding, a variable, and a service of the author's layer. */
class Region extends Context.Service<Region, string>()("test/Region") {}

const seen = Effect.gen(function* () {
  const bindings = yield* Cloudflare.WorkerEnv
  yield* Effect.log("seen")
  return ["PROBE" in bindings ? "a binding" : "no binding", yield* Effect.orDie(Config.String("REGION"))]
})

const app = App.make({
  api: SeenApi,
  tables: [],
  handlers: SeenApi.toLayer({ "object.seen": () => seen, "worker.seen": () => seen })
})

const logged: Array<string> = []
let built = 0
const layer = Layer.mergeAll(
  Logger.layer([Logger.map(Logger.formatJson, (line) => void logged.push(line))]),
  Layer.effect(
    Region,
    Effect.map(Config.String("REGION"), (region) => {
      built++
      return region
    })
  ).pipe(Layer.orDie)
)

afterEach(() => {
  vi.restoreAllMocks()
  logged.length = 0
})

const variables = { ...env, REGION: "eu" }
const identity = { subject: "ada", claims: {} }
const body = (tag: string) => JSON.stringify({ _tag: "Request", id: "1", tag, payload: null, headers: [] })

/** Makes an object of a class, over the storage of an object that is there. */
const inObject = <A>(
  { TenantObject }: Cloudflare.Deployment,
  use: (object: InstanceType<Cloudflare.Deployment["TenantObject"]>) => Promise<A>
): Promise<A> =>
  runInDurableObject(env.PROBE.get(env.PROBE.newUniqueId()), async (_, state) => {
    const object = new TenantObject(state, variables)
    await state.blockConcurrencyWhile(async () => {})
    return use(object)
  })

/** Sends a request to a Worker whose requests to itself are answered by itself. */
const fetchFrom = (deployment: Cloudflare.Deployment, request: Request, props = {}): Promise<Response> => {
  const ctx = Object.assign(createExecutionContext(), {
    props,
    exports: {
      TenantObject: { getByName: () => ({}) },
      default: ({ props }: { readonly props: object }) => ({
        fetch: (url: string, init: RequestInit) => fetchFrom(deployment, new Request(url, init), props)
      })
    }
  })
  return new deployment.worker(ctx, variables).fetch!(request)
}

const auth = Auth.layer(() => Effect.succeed(Option.some({ identity, credential: Auth.noCredential })))

it("object and Worker have the environment, its configuration, and the author's loggers", async () => {
  built = 0
  const deployment = Cloudflare.serve(app, { layer, auth, enter: () => true })
  const answer = await inObject(deployment, (object) => object.call({ tenant: "main", identity }, body("object.seen")))
  expect(JSON.parse(answer.body)[0].exit).toEqual({ _tag: "Success", value: ["a binding", "eu"] })
  expect(built).toBe(1)
  for (let i = 0; i < 2; i++) {
    const request = new Request("https://test/rpc", { method: "POST", body: body("worker.seen") })
    const response = await fetchFrom(deployment, request)
    expect(((await response.json()) as any)[0].exit).toEqual({ _tag: "Success", value: ["a binding", "eu"] })
  }
  // Once for the object, and once for the isolate of the Worker.
  expect(built).toBe(2)
  const lines = logged.map((line) => JSON.parse(line)).filter(({ message }) => message === "seen")
  expect(lines.map(({ annotations }) => annotations)).toMatchObject([
    { subject: "ada", rpc: "object.seen" },
    { tenant: "main", subject: "ada", rpc: "worker.seen" },
    { tenant: "main", subject: "ada", rpc: "worker.seen" }
  ])
})

it("a layer that cannot be built is logged, and its cause is shown to nobody", async () => {
  const errors = vi.spyOn(console, "log").mockImplementation(() => {})
  const failing = Cloudflare.serve(app, { layer: Layer.effectDiscard(Effect.die(new Error("no such secret"))) })
  const fromWorker = await fetchFrom(failing, new Request("https://test/rpc", { method: "POST", body: body("x") }))
  expect(fromWorker.status).toBe(500)
  expect(await fromWorker.text()).toMatch(/^\{"error":"the Worker could not start; the cause is in its log"\}$/)
  const fromObject = await inObject(failing, async (object) => {
    const headers = { ...sessionHeaders({ tenant: "main", identity }), upgrade: "websocket" }
    return object.fetch!(new Request(objectUrl, { headers }))
  })
  expect(fromObject.status).toBe(503)
  expect(await fromObject.text()).not.toMatch(/secret/)
  expect(errors.mock.calls.flat().join("\n")).toMatch(/no such secret/)
})

it("S1: a Worker that could not start closes sockets with 1011", async () => {
  vi.spyOn(console, "log").mockImplementation(() => {})
  const failing = Cloudflare.serve(app, { layer: Layer.effectDiscard(Effect.die(new Error("no such secret"))) })
  const handshake = new Request("https://test/rpc", { headers: { upgrade: "websocket" } })
  const { status, webSocket } = await fetchFrom(failing, handshake)
  expect(status).toBe(101)
  const closed = new Promise((resolve) =>
    webSocket!.addEventListener("close", ({ code, reason }) => resolve({ code, reason }))
  )
  webSocket!.accept()
  expect(await closed).toEqual({ code: 1011, reason: "the Worker could not start; the cause is in its log" })
})

it("S1: a Worker whose action handlers could not be built builds them again for the next call", async () => {
  vi.spyOn(console, "log").mockImplementation(() => {})
  let attempts = 0
  const services = Layer.effect(
    Region,
    Effect.suspend(() => (++attempts === 1 ? Effect.die(new Error("not yet")) : Effect.succeed("eu")))
  )
  const api = Api.make(Action.make("region", { success: Schema.String }))
  const handlers = api.toLayer({ region: () => Region })
  const deployment = Cloudflare.serve(App.make({ api, tables: [], handlers, actionServices: services }))
  const act = () => fetchFrom(deployment, new Request("https://test/rpc", { method: "POST", body: body("region") }))
  const [refused] = (await (await act()).json()) as any
  expect(errorOf(refused.exit).reason).toMatchObject({
    _tag: "Unavailable",
    detail: expect.stringContaining("status 500")
  })
  const response = await act()
  expect([response.status, attempts]).toEqual([200, 2])
  expect(((await response.json()) as any)[0].exit).toEqual({ _tag: "Success", value: "eu" })
})

it("S1: a start that failed does not end a newer one of the same Worker", async () => {
  vi.spyOn(console, "log").mockImplementation(() => {})
  // The second request arrives this many microtasks after the start of the first has failed.
  for (let later = 0; later < 100; later++) {
    let attempts = 0
    const failing = Promise.withResolvers<void>()
    const made = Layer.effectDiscard(
      Effect.suspend(() =>
        ++attempts > 1
          ? Effect.void
          : Effect.andThen(
              Effect.promise(() => failing.promise),
              Effect.die(new Error("not yet"))
            )
      )
    )
    const deployment = Cloudflare.serve(app, { layer: made })
    const start = async () => {
      const request = new Request("https://test/rpc", { method: "POST", body: body("unknown") })
      return (await fetchFrom(deployment, request)).status
    }
    const first = start()
    failing.resolve()
    for (let i = 0; i < later; i++) await null
    const second = start()
    expect(await first).toBe(500)
    expect(await start()).toBe(404)
    await second
    expect([await start(), attempts]).toEqual([404, 2])
  }
})
