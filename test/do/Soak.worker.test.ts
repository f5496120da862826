import { env, runInDurableObject } from "cloudflare:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import { Client } from "effect-dormouse/client"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import * as Transport from "../../src/client/Transport.ts"
import { ReadIndex } from "../../src/engine/object/ReadIndex.ts"
import { objectUrl, sessionHeaders } from "../../src/engine/rpc/SessionHeader.ts"
import { timePath } from "../../src/protocol/MutationId.ts"
import { MarksApi } from "../client/mutationApp.ts"
import { soak, type World } from "../client/soak.ts"
import { makeStock, type Tally } from "../client/users.ts"
import { object } from "../deployment/cloudflare.ts"
import { newTenant } from "../deployment/Deployment.ts"
import { forAllAsync, isLong, Random, Violation } from "../random.ts"

/**
 * The soak in workerd: real objects, real evictions, sockets that are cut and held on their way. A seed repeats the steps,
 * and not when their messages arrive.
 */

/** The client's end of a socket. Its messages can be held, and it can be cut. */
class Cable implements Socket.WebSocketLike {
  readyState = 0
  private readonly listeners = new Map<string, Set<(event: Socket.WebSocketEvent) => void>>()
  private readonly cables: Set<Cable>
  private held: Array<() => void> | undefined
  private socket: WebSocket | undefined

  constructor(cables: Set<Cable>, open: Promise<WebSocket>) {
    this.cables = cables
    cables.add(this)
    open.then(
      (socket) => {
        socket.accept()
        this.socket = socket
        if (this.readyState === 3) return socket.close(1000)
        socket.addEventListener("message", ({ data }) =>
          this.pass(() => this.readyState === 1 && this.emit("message", { data }))
        )
        socket.addEventListener("close", ({ code, reason }) => this.ended(code, reason))
        socket.addEventListener("error", () => this.ended(1006, ""))
        this.pass(() => {
          if (this.readyState !== 0) return
          this.readyState = 1
          this.emit("open", {})
        })
      },
      () => this.ended(1006, "")
    )
  }

  addEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    const listeners = this.listeners.get(type) ?? new Set()
    this.listeners.set(type, listeners.add(listener))
  }
  removeEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    this.listeners.get(type)?.delete(listener)
  }
  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.readyState === 1) this.pass(() => this.readyState === 1 && this.socket!.send(data))
  }
  close(code = 1000, reason = ""): void {
    this.end(code, code, reason)
  }

  /** Cuts the connection: what is held is lost, and both ends are told. */
  cut(): void {
    this.end(1006, 1000, "")
  }
  /** Holds what is sent in both directions. */
  hold(): void {
    this.held ??= []
  }
  /** Delivers what was held. */
  release(): void {
    const held = this.held ?? []
    this.held = undefined
    for (const deliver of held) deliver()
  }

  private end(code: number, sent: number, reason: string): void {
    if (this.readyState === 3) return
    this.ended(code, reason)
    this.socket?.close(sent, reason)
  }
  private ended(code: number, reason: string): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.cables.delete(this)
    this.emit("close", { code, reason })
  }
  private pass(deliver: () => void): void {
    if (this.held === undefined) deliver()
    else this.held.push(deliver)
  }
  private emit(type: string, event: Partial<Socket.WebSocketEvent>): void {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}

interface Sabotage {
  /** Breaks something before each step. */
  readonly step?: (state: DurableObjectState) => void
  /** Breaks something before each eviction. */
  readonly evicting?: (state: DurableObjectState) => void
}

/** How many looks a quiet point may take to become quiet: 30 s. */
const patience = 1500

const inWorkerd = (
  tenant: string,
  count: (what: string) => void,
  { evicting, step }: Sabotage,
  wrongLooksAtMost: number
): World => {
  const opened = object(env.MARKS, tenant)
  const cables = new Set<Cable>()
  /** Ends calls over HTTP as lost: before the object has them, or with the answer. */
  let losesRequest = false
  let losesAnswer = false
  let calling = 0
  /** The start of the heap that was evicted or lost last. */
  let gone = 0

  const called = <A>(answer: Promise<A>): Promise<A> => {
    calling++
    return answer.finally(() => calling--)
  }
  const fetch = async (url: unknown, init?: RequestInit): Promise<Response> => {
    // The Worker answers this; there is none here.
    if (String(url).endsWith(timePath)) return Response.json(Date.now())
    if (losesRequest) {
      losesRequest = false
      throw new TypeError("the connection was lost")
    }
    const text = await new Response(init?.body ?? null).text()
    const { body, status } = await called(opened.call(opened.session, text))
    if (losesAnswer) {
      losesAnswer = false
      throw new TypeError("the connection was lost")
    }
    return new Response(body, { status, headers: { "content-type": "application/json" } })
  }
  const connect = async (): Promise<WebSocket> => {
    const headers = { ...sessionHeaders(opened.session), upgrade: "websocket" }
    const { webSocket } = await called(opened.stub().fetch(objectUrl, { headers }))
    if (webSocket === null) throw new Error("the object opened no socket")
    return webSocket
  }
  const constructor = Layer.succeed(Socket.WebSocketConstructor, () => new Cable(cables, connect()))
  const http = FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)))
  const url = "https://dormouse.test"
  const protocols = {
    http: RpcClient.layerProtocolHttp({ url: `${url}/rpc` }).pipe(Layer.provide([RpcSerialization.layerJson, http])),
    socket: RpcClient.layerProtocolSocket().pipe(
      Layer.provide([
        RpcSerialization.layerJson,
        Layer.effect(Socket.Socket, Socket.makeWebSocket(url)).pipe(Layer.provide(constructor))
      ])
    )
  }
  const inside = <A>(body: (state: DurableObjectState) => A) =>
    Effect.promise(async () => runInDurableObject(opened.stub(), (_, state) => body(state)))
  const turn = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 0)))
  const onCable = (change: (cable: Cable) => void) => (random: Random) =>
    Effect.sync(() => {
      const cable = random.pick([...cables, undefined])
      if (cable !== undefined) change(cable)
    })
  const releaseAll = Effect.sync(() => {
    for (const cable of cables) cable.release()
  })
  return {
    client: (options) =>
      Effect.gen(function* () {
        const transport = yield* Layer.build(Layer.merge(constructor, Layer.succeed(Transport.Fetch, fetch)))
        return yield* Effect.provideContext(Client.make(MarksApi, { url, ...options }), transport)
      }),
    stock: (kind) =>
      Effect.gen(function* () {
        return yield* Effect.provideContext(makeStock(), yield* Layer.build(protocols[kind]))
      }),
    database: inside(({ storage: { sql } }) => {
      const isWritten = [...sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'ticks'")].length > 0
      if (!isWritten) return { rows: [], tick: 0 }
      const [ticks] = [...sql.exec<{ count: number }>("SELECT coalesce(max(count), 0) AS count FROM ticks")]
      return {
        rows: [...sql.exec<{ list: string; marker: string }>("SELECT list, marker FROM marks")],
        tick: ticks!.count
      }
    }),
    pass: (random) =>
      Effect.gen(function* () {
        if (random.chance(0.2)) yield* releaseAll
        for (let turns = random.int(6); turns > 0; turns--) yield* turn
      }),
    disturbances: {
      cut: onCable((cable) => cable.cut()),
      hold: onCable((cable) => cable.hold()),
      loseRequest: () =>
        Effect.sync(() => {
          losesRequest = true
        }),
      loseAnswer: () =>
        Effect.sync(() => {
          losesAnswer = true
        }),
      // The platform evicts no object that is not in memory, and none during a call or before an acknowledgement.
      evict: () =>
        Effect.gen(function* () {
          yield* releaseAll
          for (let turns = 0; turns < 20 && calling > 0; turns++) yield* turn
          const start = opened.starts()
          if (start === gone || calling > 0) return
          if (evicting !== undefined) yield* inside(evicting)
          const exit = yield* Effect.exit(Effect.promise(() => opened.evict()))
          // It is still busy with something.
          if (Exit.isFailure(exit)) return
          gone = start
          count("evicted")
        }),
      crash: () =>
        Effect.gen(function* () {
          yield* Effect.ignoreCause(inside((state) => state.abort("lost by the test")))
          gone = opened.starts()
        })
    },
    ...(step && { sabotage: inside(step) }),
    calm: Effect.gen(function* () {
      losesRequest = losesAnswer = false
      yield* releaseAll
    }),
    wait: (looks, wrongLooks) =>
      Effect.as(
        Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20))),
        looks < patience && wrongLooks < wrongLooksAtMost
      )
  }
}

const run = (seed: number, tally: Tally, steps: number, sabotage: Sabotage = {}, looks = patience): Promise<void> =>
  soak(
    inWorkerd(newTenant("soak"), (what) => (tally[what] = (tally[what] ?? 0) + 1), sabotage, looks),
    new Random(seed),
    tally,
    { steps, roughness: 1 }
  ).pipe(Effect.scoped, Effect.provide(Logger.layer([])), Effect.runPromise)

beforeEach(() => {
  // The app's own defects and lost objects are logged.
  for (const method of ["log", "error", "warn"] as const) vi.spyOn(console, method).mockImplementation(() => {})
})
afterEach(() => void vi.restoreAllMocks())

describe("a soak of stock and own clients with evictions, crashes and cuts, in workerd", () => {
  const tally: Tally = {}

  it(
    "C5 C7 C8 C12 L1 L7 L10: agrees with the database at every quiet point",
    () => forAllAsync(2, (_, seed) => run(seed, tally, 260)),
    isLong ? 3_600_000 : 600_000
  )

  it("had every kind of event, outcome and frame", () => {
    console.info(tally)
    const events = ["mutate", "ask", "watch", "page", "quiet", "answered", "evicted", "crash", "cut", "hold"]
    const outcomes = ["done", "failed", "unknown", "defect", "stream lost", "stock Snapshot", "stock Patch"]
    expect([...events, ...outcomes].filter((name) => (tally[name] ?? 0) < 1)).toEqual([])
  })
})

describe("control: the soak in workerd detects", () => {
  /** A value that is wrong for two seconds, with everybody connected, stays so. */
  const finds = (sabotage: Sabotage) =>
    expect(forAllAsync(1000, (_, seed) => run(seed, {}, 180, sabotage, 100))).rejects.toThrow(Violation)

  const { touched } = ReadIndex.prototype
  afterEach(() => {
    ReadIndex.prototype.touched = touched
  })

  it("sockets that lose their subscriptions with the heap", () =>
    finds({
      evicting: (state) => {
        for (const socket of state.getWebSockets()) {
          const attachment = JSON.parse(socket.deserializeAttachment())
          socket.serializeAttachment(JSON.stringify({ ...attachment, subscriptions: [], progress: [] }))
        }
      }
    }))

  it("a server that forgets the outcome of a mutation that has committed", () =>
    finds({
      step: ({ storage: { sql } }) => {
        const table = [...sql.exec("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_mutations'")]
        if (table.length > 0) sql.exec("DELETE FROM _dormouse_mutations")
      }
    }))

  it("a flush that skips a query", () => {
    let flushes = 0
    ReadIndex.prototype.touched = function (writes) {
      const ids = touched.call(this, writes)
      const [first] = ids
      if (flushes++ % 5 === 4) ids.delete(first)
      return ids
    }
    return finds({})
  })
})
