import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestApp } from "effect-dormouse/testing"
import { expect, it } from "vitest"
import { AppApi } from "../src/api.ts"
import { app } from "../src/app.ts"
import { ChannelId } from "../src/schema.ts"

/** Runs a test against a backend of its own: the real engine, in memory. */
const run = <A, E>(test: Effect.Effect<A, E, TestApp | Scope>): Promise<A> =>
  test.pipe(Effect.scoped, Effect.provide(TestApp.layer(app)), Effect.runPromise)

const newest = { size: 10, after: null, until: null }

it("has one channel of each name", () =>
  run(
    Effect.gen(function* () {
      const client = yield* TestApp.client(AppApi)
      yield* client.mutate("channels.create", { name: "general" })
      expect(yield* Effect.flip(client.mutate("channels.create", { name: "general" }))).toMatchObject({
        _tag: "ChannelExists",
        name: "general"
      })
      expect(yield* client.query("channels.list", {})).toMatchObject([{ name: "general" }])
    })
  ))

it("refuses a message in a channel that does not exist", () =>
  run(
    Effect.gen(function* () {
      const client = yield* TestApp.client(AppApi)
      const message = { channel: ChannelId.make("nowhere"), author: "ada", body: "hello" }
      expect(yield* Effect.flip(client.mutate("messages.send", message))).toMatchObject({ _tag: "ChannelNotFound" })
    })
  ))

it("shows each message to whoever reads its channel, and to nobody else", () =>
  run(
    Effect.gen(function* () {
      const ada = yield* TestApp.client(AppApi)
      const bob = yield* TestApp.client(AppApi)
      const general = yield* ada.mutate("channels.create", { name: "general" })
      const random = yield* ada.mutate("channels.create", { name: "random" })
      const seen = yield* bob.live("messages.page", { channel: general.id, ...newest }).pipe(
        Stream.map(({ items }) => items.map(({ body }) => body)),
        Stream.tap((bodies) =>
          bodies.length > 0
            ? Effect.void
            : Effect.andThen(
                ada.mutate("messages.send", { channel: random.id, author: "ada", body: "elsewhere" }),
                ada.mutate("messages.send", { channel: general.id, author: "ada", body: "hello" })
              )
        ),
        Stream.take(2),
        Stream.runCollect
      )
      expect(seen).toEqual([[], ["hello"]])
    })
  ))
