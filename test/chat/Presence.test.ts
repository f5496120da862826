import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { Topics } from "effect-dormouse/pubsub/client"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import { Here } from "../../examples/chat/presence/api.ts"
import type { Access, ChannelId } from "../../examples/chat/schema.ts"
import { backend, type Person, person, tagOf, withoutPolicies } from "./people.ts"

/** Who is here and who types in examples/chat. */

/** What somebody sees of a channel, as it changes: the names, with `…` for who types. */
const watch = Effect.fnUntraced(function* (client: Person, channel: ChannelId) {
  const seen = yield* Queue.unbounded<string>()
  const shown = client
    .live("people.here", { channel })
    .pipe(Stream.map((people) => people.map(({ isTyping, name }) => `${name}${isTyping ? "…" : ""}`).join()))
  yield* Effect.forkScoped(Stream.runForEach(shown, (text) => Queue.offer(seen, text)))
  return Queue.take(seen)
})

/** A tab that shows a channel, and how it says whether its user types. */
const tab = Effect.fnUntraced(function* (client: Person, channel: ChannelId) {
  const states = yield* Queue.unbounded<{ readonly isTyping: boolean }>()
  const joining = yield* Effect.forkScoped(Topics.join(client, Here, { channel }, Stream.fromQueue(states)))
  const type = (isTyping: boolean) => Queue.offer(states, { isTyping })
  yield* type(false)
  return { type, joining, close: Fiber.interrupt(joining) }
})

const channelOf = Effect.fnUntraced(function* (access: Access) {
  const ada = yield* person("Ada")
  const { id } = yield* ada.mutate("channels.create", { name: "here", access })
  return { ada, channel: id }
})

describe("presence", () => {
  it.live("somebody with several tabs is one person, who types when one of them does", () =>
    Effect.gen(function* () {
      const { ada, channel } = yield* channelOf("public")
      const next = yield* watch(ada, channel)
      expect(yield* next).toBe("")
      const own = yield* tab(ada, channel)
      expect(yield* next).toBe("Ada")
      const phone = yield* tab(yield* person("Bob"), channel)
      expect(yield* next).toBe("Ada,Bob")
      // Another tab changes nothing that is shown.
      const bob = yield* person("Bob")
      const desktop = yield* tab(bob, channel)
      yield* desktop.type(true)
      expect(yield* next).toBe("Ada,Bob…")
      yield* own.type(true)
      expect(yield* next).toBe("Ada…,Bob…")
      yield* desktop.close
      expect(yield* next).toBe("Ada…,Bob")
      yield* phone.close
      expect(yield* next).toBe("Ada…")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.live("who is no member of a private channel is not there and sees nobody; who is removed loses both", () =>
    Effect.gen(function* () {
      const { ada, channel } = yield* channelOf("private")
      const [bob, eve] = [yield* person("Bob"), yield* person("Eve")]
      yield* ada.mutate("members.invite", { channel, name: "Bob" })
      expect(yield* tagOf(eve.query("people.here", { channel }))).toBe("ChannelNotFound")
      const outside = yield* tab(eve, channel)
      expect(yield* tagOf(Fiber.join(outside.joining))).toBe("ChannelNotFound")
      const next = yield* watch(ada, channel)
      expect(yield* next).toBe("")
      const inside = yield* tab(bob, channel)
      expect(yield* next).toBe("Bob")
      const lost = yield* Effect.forkChild(tagOf(Stream.runDrain(bob.live("people.here", { channel }))))
      yield* ada.mutate("members.remove", { channel, person: "bob" })
      expect(yield* next).toBe("")
      expect(yield* tagOf(Fiber.join(inside.joining))).toBe("ChannelNotFound")
      expect(yield* Fiber.join(lost)).toBe("ChannelNotFound")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.live("control: without the policies everybody is there", () =>
    Effect.gen(function* () {
      const { ada, channel } = yield* channelOf("private")
      const next = yield* watch(ada, channel)
      expect(yield* next).toBe("")
      yield* tab(yield* person("Eve"), channel)
      expect(yield* next).toBe("Eve")
    }).pipe(Effect.scoped, Effect.provide(withoutPolicies))
  )

  it.live("a caller without an account is not there and sees nobody", () =>
    Effect.gen(function* () {
      const { channel } = yield* channelOf("public")
      const anonymous = yield* TestApp.client(ChatApi)
      expect(yield* tagOf(anonymous.query("people.here", { channel }))).toBe("Unauthenticated")
      const outside = yield* tab(anonymous, channel)
      expect(yield* tagOf(Fiber.join(outside.joining))).toBe("Unauthenticated")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})
