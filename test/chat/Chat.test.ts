import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import { backend, type Person, person, tagOf, withoutPolicies } from "./people.ts"

/** Who sees and does what in examples/chat. */

/** What a caller sees of a channel. */
const seen = Effect.fnUntraced(function* (client: Person, name: string) {
  const listed = yield* client.query("channels.list", {})
  return listed.map((channel) => channel.name).includes(name)
})

/** A private channel of Ada's, with a message, and Bob, who is not a member. */
const secret = Effect.gen(function* () {
  const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
  const { id } = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
  yield* ada.mutate("messages.send", { channel: id, body: "hush" })
  return { ada, bob, channel: id }
})

describe("the chat", () => {
  it.effect("a private channel is for who is not a member as one that does not exist", () =>
    Effect.gen(function* () {
      const { bob, channel } = yield* secret
      expect(yield* seen(bob, "secret")).toBe(false)
      expect(yield* bob.query("messages.list", { channel, limit: 10 })).toEqual([])
      expect((yield* bob.query("messages.page", { channel, size: 10, after: null, until: null })).items).toEqual([])
      expect(yield* bob.query("members.list", { channel })).toEqual([])
      expect(yield* tagOf(bob.mutate("messages.send", { channel, body: "let me in" }))).toBe("ChannelNotFound")
      expect(yield* tagOf(bob.mutate("members.invite", { channel, name: "Bob" }))).toBe("ChannelNotFound")
      // Nor does its name show that it exists.
      expect((yield* bob.mutate("channels.create", { name: "secret", access: "public" })).access).toBe("public")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("control: without the policies everybody reads it", () =>
    Effect.gen(function* () {
      const { bob, channel } = yield* secret.pipe(Effect.catchTag("CallError", Effect.die))
      expect(yield* seen(bob, "secret")).toBe(true)
      expect((yield* bob.query("messages.list", { channel, limit: 10 })).map(({ body }) => body)).toEqual(["hush"])
    }).pipe(Effect.scoped, Effect.provide(withoutPolicies))
  )

  it.effect("who is invited sees it, and loses it at once when removed, live", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* secret
      const sizes = yield* bob.live("messages.list", { channel, limit: 10 }).pipe(
        Stream.map((messages) => messages.length),
        Stream.tap((size) =>
          Effect.gen(function* () {
            if (size === 0) return void (yield* ada.mutate("members.invite", { channel, name: "Bob" }))
            yield* bob.mutate("messages.send", { channel, body: "thank you" })
            yield* ada.mutate("members.remove", { channel, person: "bob" })
          })
        ),
        Stream.take(2),
        Stream.runCollect
      )
      expect(sizes).toEqual([0, 1])
      expect(yield* seen(bob, "secret")).toBe(false)
      expect(yield* tagOf(bob.mutate("messages.send", { channel, body: "still here?" }))).toBe("ChannelNotFound")
      expect(
        (yield* ada.query("messages.list", { channel, limit: 10 })).map(({ author, name }) => [author, name])
      ).toEqual([
        ["bob", "Bob"],
        ["ada", "Ada"]
      ])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("who has another name than before is invited by the new one", () =>
    Effect.gen(function* () {
      const { ada, channel } = yield* secret
      const claims = { name: "Robert", isGuest: false, tenants: [] }
      const robert = yield* TestApp.client(ChatApi, { as: { subject: "bob", claims } })
      yield* robert.mutate("people.enter", {})
      expect(yield* tagOf(ada.mutate("members.invite", { channel, name: "Bob" }))).toBe("PersonNotFound")
      yield* ada.mutate("members.invite", { channel, name: "Robert" })
      expect(yield* seen(robert, "secret")).toBe(true)
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("only the owner removes others, and everybody else can leave", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* secret
      const cleo = yield* person("Cleo")
      yield* ada.mutate("members.invite", { channel, name: "Bob" })
      yield* bob.mutate("members.invite", { channel, name: "Cleo" })
      expect(yield* tagOf(bob.mutate("members.remove", { channel, person: "cleo" }))).toBe("Forbidden")
      expect(yield* seen(cleo, "secret")).toBe(true)
      yield* bob.mutate("members.remove", { channel, person: "bob" })
      expect(yield* seen(bob, "secret")).toBe(false)
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("a caller without a token reads public channels, and writes nothing", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { id } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const anonymous = yield* TestApp.client(ChatApi)
      expect(yield* seen(anonymous, "general")).toBe(true)
      expect(yield* tagOf(anonymous.mutate("messages.send", { channel: id, body: "hello" }))).toBe("Unauthenticated")
      const create = anonymous.mutate("channels.create", { name: "mine", access: "public" })
      expect(yield* tagOf(create)).toBe("Unauthenticated")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("tenants share nothing, and a guest enters only the open one", () =>
    Effect.gen(function* () {
      const here = yield* person("Ada")
      yield* here.mutate("channels.create", { name: "general", access: "public" })
      const there = yield* person("Ada", "acme")
      expect(yield* seen(there, "general")).toBe(false)
      const claims = { name: "Guest", isGuest: true, tenants: [] }
      const guest = yield* TestApp.client(ChatApi, { as: { subject: "guest", claims }, tenant: "acme" })
      const refused = yield* Effect.exit(guest.query("channels.list", {}))
      expect(refused._tag).toBe("Failure")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})
