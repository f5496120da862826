import { expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import type { Channel } from "../../examples/chat/schema.ts"
import { becomes, inTestTime, type Person, person, tagOf } from "./people.ts"

/** Messages of examples/chat that are sent later, and messages that disappear. */

/** A time from now on. */
const soon = (delay: Duration.Input) => Effect.map(DateTime.now, DateTime.addDuration(delay))

const bodies = (client: Person, { id }: Channel) =>
  Effect.map(client.query("messages.list", { channel: id, limit: 100 }), (messages) => messages.map(({ body }) => body))

const waiting = (client: Person) =>
  Effect.map(client.query("scheduled.list", {}), (all) =>
    all.map(({ hasFailed, message }) => (hasFailed ? `failed: ${message.body}` : message.body))
  )

describe("messages that are sent later", () => {
  it.effect("lands at its time as its author, and only its author sees that it waits", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const at = yield* soon("1 hour")
      yield* ada.mutate("scheduled.add", { channel: channel.id, body: "later", at })
      yield* TestClock.adjust("59 minutes")
      expect(yield* bodies(bob, channel)).toEqual([])
      expect(yield* waiting(ada)).toEqual(["later"])
      expect(yield* waiting(bob)).toEqual([])
      yield* TestClock.adjust("1 minute")
      yield* becomes(bodies(bob, channel), ["later"])
      expect(yield* waiting(ada)).toEqual([])
      const [message] = yield* bob.query("messages.list", { channel: channel.id, limit: 1 })
      expect(message).toMatchObject({ author: "ada", name: "Ada" })
      expect(DateTime.toEpochMillis(message!.sentAt) - DateTime.toEpochMillis(at)).toBeLessThan(1000)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("is not sent twice by who does not wait, and not at all when it is cancelled; others can do neither", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const add = (body: string) =>
        Effect.flatMap(soon("1 hour"), (at) => ada.mutate("scheduled.add", { channel: channel.id, body, at }))
      const [now, never] = [yield* add("now"), yield* add("never")]
      yield* bob.mutate("scheduled.send", { id: never })
      yield* bob.mutate("scheduled.cancel", { id: now })
      expect(yield* waiting(ada)).toEqual(["now", "never"])
      yield* ada.mutate("scheduled.send", { id: now })
      yield* ada.mutate("scheduled.cancel", { id: never })
      yield* TestClock.adjust("2 hours")
      expect(yield* bodies(ada, channel)).toEqual(["now"])
      expect(yield* waiting(ada)).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("does not reach a channel that its author has lost by then, and its author is told", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
      yield* ada.mutate("members.invite", { channel: channel.id, name: "Bob" })
      const at = yield* soon("1 hour")
      const id = yield* bob.mutate("scheduled.add", { channel: channel.id, body: "one more thing", at })
      yield* ada.mutate("members.remove", { channel: channel.id, person: "bob" })
      yield* TestClock.adjust("1 hour")
      yield* becomes(waiting(bob), ["failed: one more thing"])
      expect(yield* bodies(ada, channel)).toEqual([])
      yield* bob.mutate("scheduled.cancel", { id })
      expect(yield* waiting(bob)).toEqual([])
      const refused = bob.mutate("scheduled.add", { channel: channel.id, body: "again", at })
      expect(yield* tagOf(refused)).toBe("ChannelNotFound")
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )
})

describe("messages that disappear", () => {
  it.effect("go at their time, even if the author has lost the channel", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
      yield* ada.mutate("members.invite", { channel: channel.id, name: "Bob" })
      const sent = yield* Clock.currentTimeMillis
      const lifetime = "1 hour"
      const { expiresAt } = yield* bob.mutate("messages.send", { channel: channel.id, body: "burn this", lifetime })
      expect(DateTime.toEpochMillis(expiresAt!) - sent).toBe(3_600_000)
      yield* bob.mutate("messages.send", { channel: channel.id, body: "keep this" })
      yield* ada.mutate("members.remove", { channel: channel.id, person: "bob" })
      yield* TestClock.adjust("59 minutes")
      expect(yield* bodies(ada, channel)).toEqual(["keep this", "burn this"])
      yield* TestClock.adjust("1 minute")
      yield* becomes(bodies(ada, channel), ["keep this"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("can be deleted before by their author alone, and the job then finds nothing", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const send = { channel: channel.id, body: "hm", lifetime: "1 minute" } as const
      const { id } = yield* ada.mutate("messages.send", send)
      expect(yield* tagOf(bob.mutate("messages.delete", { id }))).toBe("Forbidden")
      const anonymous = yield* TestApp.client(ChatApi)
      expect(yield* tagOf(anonymous.mutate("messages.delete", { id }))).toBe("Forbidden")
      yield* ada.mutate("messages.delete", { id })
      yield* TestClock.adjust("2 minutes")
      expect(yield* bodies(bob, channel)).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )
})
