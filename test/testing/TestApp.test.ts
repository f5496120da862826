import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { ChatApi } from "../../examples/chat/api.ts"
import { app } from "../../examples/chat/app.ts"

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
