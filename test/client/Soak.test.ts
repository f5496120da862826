import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { afterEach, describe, expect, it } from "vitest"
import { ReadIndex } from "../../src/engine/object/ReadIndex.ts"
import type { MemoryObject } from "../../src/testing/MemoryObject.ts"
import { forAllAsync, isLong, Random, runMore, Violation } from "../random.ts"
import { rowsOf, settle, tickOf } from "./histories.ts"
import { MarksApi } from "./mutationApp.ts"
import { soak, type World } from "./soak.ts"
import { makeStock, type Tally } from "./users.ts"
import { runInVirtualTime } from "./virtualTime.ts"

/** The soak in memory, under virtual time. Messages are held, and arrive one by one in a random order. */

interface Sabotage {
  /** Breaks something before each step. */
  readonly step?: (object: MemoryObject<any>) => void
  /** Breaks something while the object is not in memory. */
  readonly evicted?: (object: MemoryObject<any>) => void
}

const inMemory = (object: MemoryObject<any>, { evicted, step }: Sabotage) =>
  Effect.gen(function* () {
    const backend = yield* TestApp
    const { transport, url } = backend
    const { network } = object
    const onWire = (way: "cut" | "cutClient" | "silence") => (random: Random) =>
      Effect.sync(() => random.pick([...network.wires, undefined])?.[way]())
    const evict = Effect.promise(async () => {
      await object.evict()
      evicted?.(object)
    })
    const http = RpcClient.layerProtocolHttp({ url: `${url}/rpc` }).pipe(
      Layer.provide([RpcSerialization.layerJson, transport])
    )
    const world: World = {
      client: (options) => Effect.provideService(TestApp.client(MarksApi, options), TestApp, backend),
      stock: (kind) =>
        kind === "socket"
          ? Effect.provideService(TestApp.rpc(MarksApi), TestApp, backend)
          : Effect.gen(function* () {
              return yield* Effect.provideContext(makeStock(), yield* Layer.build(http))
            }),
      tick: () => tickOf(object),
      database: Effect.sync(() => ({ rows: rowsOf(object), tick: tickOf(object) })),
      pass: (random) =>
        Effect.gen(function* () {
          if (network.isOffline && random.chance(0.3)) network.online()
          if (random.chance(0.2)) yield* TestClock.adjust(random.pick([1, 100, 400, 2000]))
          const count = 1 + random.int(12)
          for (let i = 0; i < count; i++) {
            network.stepAny((ways) => random.int(ways))
            if (random.chance(0.5)) yield* settle
          }
          yield* settle
        }),
      disturbances: {
        cut: onWire("cut"),
        cutClient: onWire("cutClient"),
        silence: onWire("silence"),
        cutAll: () => Effect.sync(() => network.cut()),
        offline: () => Effect.sync(() => network.offline()),
        evict: () => evict,
        crash: () => Effect.promise(() => object.crash()),
        failCommit: () => Effect.sync(() => object.failNextCommit())
      },
      ...(step && { sabotage: Effect.sync(() => step(object)) }),
      calm: Effect.gen(function* () {
        network.online()
        network.release()
        yield* settle
      }),
      // A mutation is repeated for minutes, and a dead connection is detected within one.
      wait: (looks) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(looks < 20 ? "10 seconds" : "1 minute")
          yield* settle
          return looks < 150
        })
    }
    return world
  })

const run = (seed: number, tally: Tally, steps: number, sabotage: Sabotage = {}): Promise<void> =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const world = yield* inMemory(object(), sabotage)
    object().network.hold()
    const pass: World["pass"] = (random) =>
      Effect.andThen(
        Effect.sync(() => object().network.hold()),
        world.pass(random)
      )
    yield* soak({ ...world, pass }, new Random(seed), tally, { steps })
  }).pipe(runInVirtualTime(seed))

describe("a soak of stock and own clients with evictions, crashes and cuts, in memory", () => {
  const tally: Tally = {}
  const [runs, steps] = [9, isLong ? 1200 : 300]

  it(
    "C5 C7 C8 C12 L1 L7 L10: agrees with the database at every quiet point",
    () => forAllAsync(runs, (_, seed) => run(seed, tally, steps)),
    isLong ? 3_600_000 : 600_000
  )

  it("had every kind of event, outcome and frame", async () => {
    const events = ["mutate", "ask", "watch", "unwatch", "interrupt", "page", "quiet", "replayed", "answered"]
    const disturbances = ["cut", "cutClient", "silence", "cutAll", "offline", "evict", "crash", "failCommit"]
    const outcomes = ["done", "failed", "unknown", "defect", "interrupted", "stream lost", "stock Snapshot"]
    const rare = () => [...events, ...disturbances, ...outcomes].filter((name) => (tally[name] ?? 0) < 10)
    await runMore(
      [runs, 100],
      () => rare().length > 0,
      (_, seed) => run(seed, tally, steps)
    )
    console.info(tally)
    expect(rare()).toEqual([])
  })
})

describe("control: the soak in memory detects", () => {
  const finds = (sabotage: Sabotage) =>
    expect(forAllAsync(1000, (_, seed) => run(seed, {}, 120, sabotage))).rejects.toThrow(Violation)

  const { touched } = ReadIndex.prototype
  afterEach(() => {
    ReadIndex.prototype.touched = touched
  })

  it("sockets that lose their subscriptions with the heap", () =>
    finds({
      evicted: ({ network }) => {
        for (const { server } of network.wires) {
          if (typeof server.attachment !== "string") continue
          server.attachment = JSON.stringify({ ...JSON.parse(server.attachment), subscriptions: [], progress: [] })
        }
      }
    }))

  it("a server that forgets the outcome of a mutation that has committed", () =>
    finds({
      step: ({ database }) => {
        const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = '_dormouse_mutations'").get()
        if (table !== undefined) database.exec("DELETE FROM _dormouse_mutations")
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
