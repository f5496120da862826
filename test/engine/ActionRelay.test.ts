/// <reference types="node" />
import { getEventListeners } from "node:events"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { anonymous } from "../../src/contract/Auth.ts"
import { ActionRelay } from "../../src/engine/object/ActionRelay.ts"
import { ping, type Request } from "../../src/protocol/Messages.ts"
import { Peer } from "../deployment/Deployment.ts"
import { app, NotesApi, waiting } from "../worker/notes.ts"

const request = (id: string, isNotification?: true): Request => ({
  _tag: "Request",
  id,
  tag: "act",
  payload: {},
  headers: [],
  ...(isNotification && { isNotification })
})

/** A relay of an endless action. */
const start = () => {
  const signals: Array<AbortSignal> = []
  const sent: Array<FromServerEncoded> = []
  let ended = 0
  let sign = ""
  const timers = new Set<{ readonly millis: number; readonly task: () => void }>()
  const relay = new ActionRelay({
    host: {
      async *runAction({ id }, _session, signal) {
        signals.push(signal)
        try {
          for (let n = 0; ; n++) yield { _tag: "Chunk", requestId: id, values: [n] }
        } finally {
          ended++
        }
      },
      renewSession: () => Promise.reject(new Error("no Worker here"))
    },
    session: () => ({ tenant: "main", identity: anonymous }),
    endOf: () => undefined,
    send: (message) => sent.push(message),
    after: (millis, task) => {
      const timer = { millis, task }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    signOfLife: () => sign,
    onChange: () => {}
  })
  /** Looks after the client for so many milliseconds, with a sign of its life before each look. Returns how long. */
  const pass = (millis: number, signOfLife: () => string = () => sign): number => {
    let passed = 0
    for (const timer of timers) {
      if (passed + timer.millis > millis) break
      timers.delete(timer)
      passed += timer.millis
      sign = signOfLife()
      timer.task()
    }
    return passed
  }
  return { relay, signals, sent, ended: () => ended, pass, hasTimer: () => timers.size > 0 }
}

const lost = {
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: { _tag: "CallError", reason: { _tag: "CallLost" } } }]
}

const minute = 60_000

describe("ActionRelay", () => {
  it("L8: a long stream leaves no listener behind for each chunk", async () => {
    const { ended, relay, sent, signals } = start()
    relay.start(request("stream"))
    for (let chunks = 1; chunks <= 50; chunks++) {
      await expect.poll(() => sent.length, { interval: 1 }).toBe(chunks)
      relay.acknowledge("stream")
    }
    expect(getEventListeners(signals[0]!, "abort").length).toBeLessThanOrEqual(1)
    relay.close()
    await expect.poll(ended).toBe(1)
  })

  it("L8: an action ends with its socket, whether it waits for an acknowledgement or was called as a notification", async () => {
    const { ended, relay, signals } = start()
    relay.start(request("stream"))
    relay.start(request("notified", true))
    await expect.poll(() => signals.length).toBe(2)
    relay.close()
    await expect.poll(ended).toBe(2)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  })

  const exitOf = (sent: ReadonlyArray<FromServerEncoded>) =>
    sent.flatMap((each) => (each._tag === "Exit" ? [each.exit] : []))

  it("L7: a stream waits for an hour for a client that pings, and goes on when it acknowledges", async () => {
    const { ended, hasTimer, pass, relay, sent } = start()
    let pings = 0
    const ping = () => `${pings++}`
    relay.start(request("stream"))
    for (let chunks = 1; chunks <= 3; chunks++) {
      await expect.poll(() => sent.length, { interval: 1 }).toBe(chunks)
      expect(pass(59 * minute, ping)).toBe(59 * minute)
      expect([ended(), sent.length]).toEqual([0, chunks])
      relay.acknowledge("stream")
    }
    await expect.poll(() => sent.length, { interval: 1 }).toBe(4)
    expect(pass(100 * minute, ping)).toBe(60 * minute)
    await expect.poll(ended).toBe(1)
    await expect.poll(() => exitOf(sent)).toEqual([lost])
    expect(hasTimer()).toBe(false)
  })

  it("L7: a stream waits for a minute for a client of which nothing arrives", async () => {
    const { ended, hasTimer, pass, relay, sent } = start()
    relay.start(request("stream"))
    await expect.poll(() => sent.length, { interval: 1 }).toBe(1)
    // One sign of life, 40 seconds after the chunk.
    expect(pass(40_000)).toBe(40_000)
    expect(pass(20_000, () => "alive")).toBe(20_000)
    expect(ended()).toBe(0)
    expect(pass(100 * minute)).toBe(minute)
    await expect.poll(ended).toBe(1)
    await expect.poll(() => exitOf(sent)).toEqual([lost])
    expect(hasTimer()).toBe(false)
  })

  it("L8: no timer is left when a chunk was acknowledged, its call interrupted, or its socket closed", async () => {
    const { ended, hasTimer, relay, sent } = start()
    relay.start(request("stream"))
    for (let chunks = 1; chunks <= 3; chunks++) {
      await expect.poll(() => sent.length, { interval: 1 }).toBe(chunks)
      expect(hasTimer()).toBe(true)
      if (chunks < 3) relay.acknowledge("stream")
    }
    relay.interrupt("stream")
    await expect.poll(ended).toBe(1)
    expect(hasTimer()).toBe(false)
    relay.start(request("again"))
    await expect.poll(hasTimer).toBe(true)
    relay.close()
    await expect.poll(ended).toBe(2)
    expect(hasTimer()).toBe(false)
  })
})

describe("a stream whose reader takes its time", () => {
  const settle = Effect.promise(async () => {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  })
  const pass = (seconds: number) =>
    Effect.gen(function* () {
      for (let passed = 0; passed < seconds; passed += 10) {
        yield* TestClock.adjust("10 seconds")
        yield* settle
      }
    })
  /** A client that reads an endless stream, and stays at the first value for half an hour. */
  const reading = Effect.fnUntraced(function* (name: string) {
    const client = yield* TestApp.client(NotesApi)
    const { object } = yield* TestApp
    const seen: Array<string> = []
    const fiber = yield* client.act("act.forever", { name, length: 1 }).pipe(
      Stream.tap((value) => {
        seen.push(value)
        return value === "1" ? Effect.sleep("30 minutes") : Effect.void
      }),
      Stream.take(6),
      Stream.runDrain,
      Effect.forkChild
    )
    for (let i = 0; i < 10 && seen.length === 0; i++) yield* settle
    return { fiber, seen, object }
  })

  it.effect("L7: it goes on after half an hour, because its client pings", () =>
    Effect.gen(function* () {
      const { fiber, object, seen } = yield* reading("slow reader")
      yield* pass(29 * 60)
      expect(seen).toEqual(["1"])
      expect(waiting.interrupted.has("slow reader")).toBe(false)
      yield* pass(120)
      yield* Fiber.join(fiber)
      expect(seen).toEqual(["1", "2", "3", "4", "5", "6"])
      expect(object().starts).toBe(1)
    }).pipe(Effect.provide(TestApp.layer(app)))
  )

  it.effect("L7: it is interrupted within 80 seconds of the last ping, and its call ends with CallLost", () =>
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const socket = object().connect(async () => ({ tenant: "main", identity: anonymous }))
      const peer = new Peer(socket)
      socket.addEventListener("message", ({ data }) => peer.received(String(data)))
      yield* settle
      const id = peer.ask("act.forever", { name: "gone reader", length: 1 })
      yield* settle
      expect(peer.items(id)).toEqual(["1"])
      for (let i = 0; i < 30; i++) {
        peer.sendText(ping)
        yield* pass(10)
      }
      yield* pass(40)
      expect(waiting.interrupted.has("gone reader")).toBe(false)
      yield* pass(40)
      expect(waiting.interrupted.has("gone reader")).toBe(true)
      expect(peer.exits(id)).toEqual([lost])
      expect(object().starts).toBe(1)
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})
