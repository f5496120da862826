import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import { type Channel, type ChannelId, type Message, MessageId, maxBody } from "../../examples/chat/schema.ts"
import { withEdit, without } from "../../examples/chat/web/optimistic.ts"
import { Random, seeds, Violation } from "../random.ts"
import { backend, becomes, inTestTime, type Person, person, tagOf, untyped, withoutPolicies } from "./people.ts"

/** Messages of examples/chat that their authors change and delete. */

/** Ada and Bob in a public channel, with a message of Ada's. */
const meeting = Effect.gen(function* () {
  const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
  const { id: channel } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
  const { id } = yield* ada.mutate("messages.send", { channel, body: "helo" })
  return { ada, bob, channel, id }
})

const list = (client: Person, channel: ChannelId) => client.query("messages.list", { channel, limit: 100 })
const bodies = (client: Person, channel: ChannelId) =>
  Effect.map(list(client, channel), (messages) => messages.map(({ body }) => body))

/** `Success`, or the tag of the failure. */
const outcomeOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onSuccess: () => "Success",
    onFailure: (error) => ("reason" in error ? Object(error.reason)._tag : error._tag)
  })

describe("changing a message", () => {
  it.effect("is for its author alone, and says when; other pages show it, and a deletion, live", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, id } = yield* meeting
      const seen = yield* Queue.unbounded<ReadonlyArray<readonly [string, boolean]>>()
      yield* Effect.forkScoped(
        Stream.runForEach(bob.live("messages.list", { channel, limit: 10 }), (messages) =>
          Queue.offer(
            seen,
            messages.map(({ body, editedAt }) => [body, editedAt !== undefined])
          )
        )
      )
      expect(yield* Queue.take(seen)).toEqual([["helo", false]])
      const anonymous = yield* TestApp.client(ChatApi)
      expect(yield* tagOf(bob.mutate("messages.edit", { id, body: "Bob was here" }))).toBe("Forbidden")
      // Nor does the answer depend on the text.
      expect(yield* tagOf(bob.mutate("messages.edit", { id, body: "helo" }))).toBe("Forbidden")
      expect(yield* tagOf(bob.mutate("messages.edit", { id, body: "" }))).toBe("Forbidden")
      expect(yield* tagOf(anonymous.mutate("messages.edit", { id, body: "so was I" }))).toBe("Forbidden")
      yield* TestClock.adjust("1 minute")
      const edited = yield* ada.mutate("messages.edit", { id, body: "hello" })
      expect(DateTime.distance(edited.sentAt, edited.editedAt!)).toEqual(
        DateTime.distance(DateTime.makeUnsafe(0), DateTime.makeUnsafe(60_000))
      )
      expect(yield* Queue.take(seen)).toEqual([["hello", true]])
      yield* ada.mutate("messages.delete", { id })
      expect(yield* Queue.take(seen)).toEqual([])
      expect(yield* tagOf(ada.mutate("messages.edit", { id, body: "again" }))).toBe("MessageNotFound")
      // Deleted twice, as from two tabs.
      yield* ada.mutate("messages.delete", { id })
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("keeps everything else: author, name, time and place", () =>
    Effect.gen(function* () {
      const { ada, channel, id } = yield* meeting
      const [before] = yield* list(ada, channel)
      const claims = { name: "Ada Lovelace", isGuest: false, tenants: [] }
      const renamed = yield* TestApp.client(ChatApi, { as: { subject: "ada", claims } })
      // What came from elsewhere in the payload is not taken over.
      yield* untyped(renamed).mutate("messages.edit", { id, body: "hello", author: "bob", name: "Bob", sentAt: 0 })
      const [after] = yield* list(ada, channel)
      expect({ ...after, editedAt: undefined, body: "helo" }).toEqual({ ...before, editedAt: undefined })
      // The same text is no change.
      const [once] = yield* list(ada, channel)
      yield* ada.mutate("messages.edit", { id, body: "hello" })
      expect(yield* list(ada, channel)).toEqual([once])
      // It is still Ada's, under either name.
      expect((yield* renamed.query("people.me", {}))?.id).toBe(after!.author)
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("needs a text of the right length", () =>
    Effect.gen(function* () {
      const { ada, channel, id } = yield* meeting
      expect(yield* tagOf(ada.mutate("messages.edit", { id, body: "" }))).toBe("MessageEmpty")
      yield* ada.mutate("messages.edit", { id, body: "x".repeat(maxBody) })
      expect(
        Exit.isFailure(yield* Effect.exit(ada.mutate("messages.edit", { id, body: "x".repeat(maxBody + 1) })))
      ).toBe(true)
      expect(yield* tagOf(ada.mutate("messages.edit", { id: MessageId.make("none"), body: "x" }))).toBe(
        "MessageNotFound"
      )
      expect((yield* bodies(ada, channel)).map(({ length }) => length)).toEqual([maxBody])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("does not keep it from disappearing, and one that was sent later is changed like any other", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* meeting
      const draft = { channel, body: "brun this", lifetime: "1 hour" } as const
      const { id } = yield* ada.mutate("messages.send", draft)
      yield* ada.mutate("messages.edit", { id, body: "burn this" })
      const at = DateTime.addDuration(yield* DateTime.now, "30 minutes")
      yield* ada.mutate("scheduled.add", { channel, body: "latre", at })
      yield* TestClock.adjust("30 minutes")
      yield* becomes(bodies(bob, channel), ["latre", "burn this", "helo"])
      const [later] = yield* list(ada, channel)
      yield* ada.mutate("messages.edit", { id: later!.id, body: "later" })
      yield* TestClock.adjust("30 minutes")
      yield* becomes(bodies(bob, channel), ["later", "helo"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("is not for what was imported, which somebody else has written; deleting it is", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* meeting
      const lines = [{ name: "Grace", text: "old" }]
      yield* ada.mutate("imports.begin", { channel, file: "old.txt", lines, broken: 0 })
      yield* becomes(bodies(bob, channel), ["helo", "old"])
      const { id } = (yield* list(ada, channel))[1]!
      expect(yield* tagOf(ada.mutate("messages.edit", { id, body: "words in her mouth" }))).toBe("Forbidden")
      yield* ada.mutate("messages.delete", { id })
      expect(yield* bodies(bob, channel)).toEqual(["helo"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )
})

describe("the page that changes a message", () => {
  const page = (channel: ChannelId) => ({ channel, size: 10, after: null, until: null })

  /** What a page shows of a channel: the texts, and whether the server has confirmed them. */
  const shownBy = Effect.fnUntraced(function* (client: Person, channel: ChannelId) {
    const shown = yield* Queue.unbounded<readonly [ReadonlyArray<string>, boolean]>()
    let last = ""
    // As a component does: a stream would leave out what is replaced at once.
    const observed = client.observe("messages.page", page(channel), () => {
      const { isOptimistic, value } = observed.live()
      const state = Option.isSome(value) ? value.value.items.map(({ body }) => body) : []
      // The connection has changed alone.
      if (`${state} ${isOptimistic}` === last) return
      last = `${state} ${isOptimistic}`
      Queue.offerUnsafe(shown, [state, isOptimistic])
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => observed.end()))
    /** Everything that was shown, up to a state. */
    const until = Effect.fnUntraced(function* (last: readonly [ReadonlyArray<string>, boolean]) {
      const all: Array<readonly [ReadonlyArray<string>, boolean]> = []
      do all.push(yield* Queue.take(shown))
      while (JSON.stringify(all.at(-1)) !== JSON.stringify(last))
      return all
    })
    yield* until([["helo"], false])
    return until
  })

  it.effect("shows the change before the server has it, and the old text again if the server refuses", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, id } = yield* meeting
      const [own, others] = [yield* shownBy(ada, channel), yield* shownBy(bob, channel)]
      const edit = (client: Person, body: string) =>
        client.mutate(
          "messages.edit",
          { id, body },
          { optimistic: (view) => view.updateEach("messages.page", (page) => withEdit(page, id, body)) }
        )
      yield* edit(ada, "hello")
      expect((yield* own([["hello"], false]))[0]).toEqual([["hello"], true])
      yield* others([["hello"], false])
      expect(yield* tagOf(edit(bob, "Bob was here"))).toBe("Forbidden")
      expect(yield* others([["hello"], false])).toEqual([
        [["Bob was here"], true],
        [["hello"], false]
      ])
      yield* ada.mutate(
        "messages.delete",
        { id },
        { optimistic: (view) => view.updateEach("messages.page", (page) => without(page, id)) }
      )
      expect((yield* own([[], false]))[0]).toEqual([[], true])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})

/** A message as the model has it. */
interface Known {
  readonly author: string
  readonly channel: Channel
  body: string
}

const names = ["Ada", "Bob", "Cleo"]

/** People who change and delete any messages at random, in a public channel and in a private one whose members change. */
const history = Effect.fnUntraced(function* (seed: number, steps: number) {
  const random = new Random(seed)
  const people = new Map<string, Person>()
  for (const name of names) people.set(name.toLowerCase(), yield* person(name))
  const ada = people.get("ada")!
  const open = yield* ada.mutate("channels.create", { name: "open", access: "public" })
  const secret = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
  const members = new Set(["ada"])
  const known = new Map<MessageId, Known>()
  /** Those of all messages, also of those that are gone. */
  const ids = [MessageId.make("none")]
  const check = (what: string, found: unknown, expected: unknown) => {
    if (JSON.stringify(found) !== JSON.stringify(expected))
      throw new Violation(
        `DORMOUSE_SEED=${seed}: ${what} gave ${JSON.stringify(found)}, and not ${JSON.stringify(expected)}`
      )
  }
  /** What the server answers to who wants to change a message. */
  const answer = (message: Known | undefined, who: string, missing: string) => {
    if (message === undefined || (message.channel === secret && !members.has(who))) return missing
    return message.author === who ? "Success" : "Forbidden"
  }
  for (let step = 0; step < steps; step++) {
    const who = random.pick([...people.keys()])
    const client = people.get(who)!
    const channel = random.pick([open, secret])
    const id = random.pick(ids)
    const message = known.get(id)
    switch (random.int(5)) {
      case 0:
      case 1: {
        if (channel === secret && !members.has(who)) break
        const sent: Message = yield* client.mutate("messages.send", { channel: channel.id, body: `${step}` })
        known.set(sent.id, { author: who, channel, body: `${step}` })
        ids.push(sent.id)
        break
      }
      case 2: {
        const expected = answer(message, who, "MessageNotFound")
        check(`${who} edits`, yield* outcomeOf(client.mutate("messages.edit", { id, body: `${step}` })), expected)
        if (expected === "Success") message!.body = `${step}`
        break
      }
      case 3: {
        const expected = answer(message, who, "Success")
        check(`${who} deletes`, yield* outcomeOf(client.mutate("messages.delete", { id })), expected)
        if (expected === "Success" && message?.author === who && answer(message, who, "gone") === "Success")
          known.delete(id)
        break
      }
      case 4: {
        const name = random.pick(names.slice(1))
        const other = name.toLowerCase()
        if (members.delete(other)) yield* ada.mutate("members.remove", { channel: secret.id, person: other })
        else {
          yield* ada.mutate("members.invite", { channel: secret.id, name })
          members.add(other)
        }
      }
    }
  }
  for (const channel of [open, secret]) {
    const expected = [...known].filter(([, message]) => message.channel === channel).map(([id, { body }]) => [id, body])
    const found = (yield* list(ada, channel.id)).map(({ body, id }) => [id, body])
    check(`the channel ${channel.name}`, found.toSorted(), expected.toSorted())
  }
})

describe("changes at random", () => {
  it.effect("nobody changes or deletes a message of somebody else, nor one that they cannot see", () =>
    Effect.forEach(seeds(3), (seed) => history(seed, 60).pipe(Effect.scoped, Effect.provide(backend)), {
      discard: true
    })
  )

  it.effect("control: without the policies they do", () =>
    Effect.gen(function* () {
      const [seed] = seeds(1)
      const exit = yield* history(seed!, 200).pipe(Effect.scoped, Effect.provide(withoutPolicies), Effect.exit)
      expect(Exit.isFailure(exit) && String(exit.cause)).toMatch(/Violation/)
    })
  )
})
