import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { ChatApi } from "../../examples/minimal/api.ts"
import { app } from "../../examples/minimal/app.ts"
import { Message } from "../../examples/minimal/schema.ts"

const test = (name: string, body: () => Effect.Effect<void, any, any>) =>
  it.effect(name, () => body().pipe(Effect.provide(TestApp.layer(app))) as Effect.Effect<void>)

test("C1: calls go over HTTP while no query is live, and over the socket while one is", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const { object } = yield* TestApp
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    expect(object().network.log).toEqual([])
    const seen = yield* Queue.unbounded<ReadonlyArray<string>>()
    const watching = yield* chat.live("messages.list", { channel: channel.id, limit: 10 }).pipe(
      Stream.runForEach((rows) =>
        Queue.offer(
          seen,
          rows.map((row) => row.body)
        )
      ),
      Effect.forkChild
    )
    expect(yield* Queue.take(seen)).toEqual([])
    yield* chat.mutate("messages.send", { channel: channel.id, author: "ada", body: "one" })
    expect(yield* Queue.take(seen)).toEqual(["one"])
    yield* Effect.promise(() => object().evict())
    // Keys generated in the same millisecond ascend only while the object stays awake.
    yield* TestClock.adjust("1 second")
    yield* chat.mutate("messages.send", { channel: channel.id, author: "ada", body: "two" })
    expect(yield* Queue.take(seen)).toEqual(["two", "one"])
    yield* Fiber.interrupt(watching)
    expect((yield* chat.query("messages.list", { channel: channel.id, limit: 10 })).length).toBe(2)
  }))

test("C3 C7 C9: a live query survives a lost connection, and a mutation runs once", () =>
  Effect.gen(function* () {
    const chat = yield* TestApp.client(ChatApi)
    const { object } = yield* TestApp
    const channel = yield* chat.mutate("channels.create", { name: "general" })
    const seen = yield* Queue.unbounded<ReadonlyArray<string>>()
    yield* chat.live("messages.list", { channel: channel.id, limit: 10 }).pipe(
      Stream.runForEach((rows) =>
        Queue.offer(
          seen,
          rows.map((row) => row.body)
        )
      ),
      Effect.forkChild
    )
    expect(yield* Queue.take(seen)).toEqual([])
    object().network.hold()
    const sending = yield* chat
      .mutate(
        "messages.send",
        { channel: channel.id, author: "ada", body: "one" },
        {
          optimistic: (view) =>
            view.update("messages.list", { channel: channel.id, limit: 10 }, (rows) => [
              new Message({
                id: "local" as any,
                channel: channel.id,
                author: "ada",
                body: "one!",
                sentAt: DateTime.makeUnsafe(0)
              }),
              ...rows
            ])
        }
      )
      .pipe(Effect.forkChild)
    expect(yield* Queue.take(seen)).toEqual(["one!"])
    // The request arrives, and its answer is lost.
    object().network.step()
    const stored = () => object().database.prepare("SELECT 1 FROM messages").all().length
    yield* Effect.promise(() => expect.poll(() => [stored(), object().network.inFlight > 0]).toEqual([1, true]))
    object().network.cut()
    object().network.release()
    yield* TestClock.adjust("2 seconds")
    yield* Fiber.join(sending)
    expect(yield* Queue.take(seen)).toEqual(["one"])
    expect((yield* chat.query("messages.list", { channel: channel.id, limit: 10 })).length).toBe(1)
  }))
