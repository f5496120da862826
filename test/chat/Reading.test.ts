import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { type ChannelId, MessageId } from "../../examples/chat/schema.ts"
import { markEach, readersByMessage } from "../../examples/chat/web/readMarks.ts"
import { inTestTime, type Person, person } from "./people.ts"

/** Up to where people have read in examples/chat. */

const messageAt = Effect.fnUntraced(function* (client: Person, channel: ChannelId, body: string) {
  yield* TestClock.adjust("1 second")
  return yield* client.mutate("messages.send", { channel, body })
})

/** A private channel of Ada and Bob with three messages of Ada's. */
const conversation = Effect.gen(function* () {
  const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
  const { id: channel } = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
  yield* ada.mutate("members.invite", { channel, name: "Bob" })
  const messages = yield* Effect.forEach(["1", "2", "3"], (body) => messageAt(ada, channel, body))
  const shown = (readers: Effect.Success<ReturnType<typeof list>>) =>
    Array.from(readersByMessage(messages, readers, "ada"), ([id, readers]) => [
      messages.find((message) => message.id === id)?.body,
      ...readers.map(({ name }) => name)
    ])
  const list = () => ada.query("reading.list", { channel })
  const mark = (client: Person, i: number) => client.mutate("reading.mark", { message: messages[i]!.id })
  return { ada, bob, channel, messages, list, shown, mark }
})

describe("read marks", () => {
  it.effect("a mark is one row for each person and channel, moves forward only, and is shown live", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, list, mark, shown } = yield* conversation
      const { object } = yield* TestApp
      const rows = () => object().database.prepare("SELECT count(*) AS count FROM readMarks").get()
      const seen = yield* Queue.unbounded<unknown>()
      const live = ada.live("reading.list", { channel })
      yield* Effect.forkScoped(Stream.runForEach(live, (readers) => Queue.offer(seen, shown(readers))))
      expect(yield* Queue.take(seen)).toEqual([])
      yield* mark(bob, 1)
      expect(yield* Queue.take(seen)).toEqual([["2", "Bob"]])
      // A tab that is behind the other.
      yield* mark(bob, 0)
      yield* mark(bob, 1)
      expect(shown(yield* list())).toEqual([["2", "Bob"]])
      yield* mark(bob, 2)
      expect(yield* Queue.take(seen)).toEqual([["3", "Bob"]])
      yield* mark(ada, 2)
      expect(rows()).toEqual({ count: 2 })
      // Nobody is shown what the user itself has read.
      expect(shown(yield* list())).toEqual([["3", "Bob"]])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("who is no member of a channel marks nothing and sees no marks, and a removed member has none", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, list, mark } = yield* conversation
      const eve = yield* person("Eve")
      yield* mark(eve, 2)
      yield* mark(bob, 2)
      expect((yield* list()).map(({ id }) => id)).toEqual(["bob"])
      expect(yield* eve.query("reading.list", { channel })).toEqual([])
      yield* ada.mutate("members.remove", { channel, person: "bob" })
      expect(yield* list()).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect(
    "a page marks the first message at once, then the newest every three seconds, and the last when it goes",
    () =>
      Effect.gen(function* () {
        const marked = yield* Ref.make<ReadonlyArray<string>>([])
        const newest = yield* Queue.sliding<MessageId>(1)
        const mark = (message: MessageId) => Ref.update(marked, (all) => [...all, message])
        const marking = yield* Effect.forkChild(markEach(newest, mark), { startImmediately: true })
        for (let second = 0; second < 10; second++) {
          for (const part of ["a", "b"]) yield* Queue.offer(newest, MessageId.make(`${second}${part}`))
          yield* TestClock.adjust("1 second")
        }
        expect(yield* Ref.get(marked)).toEqual(["0b", "2b", "5b", "8b"])
        yield* Fiber.interrupt(marking)
        expect(yield* Ref.get(marked)).toEqual(["0b", "2b", "5b", "8b", "9b"])
      })
  )

  it("a reader stands at the last message that was sent by then, unless it is the reader's own", () => {
    const message = (id: string, author: string, at: number) => ({
      id: MessageId.make(id),
      author,
      sentAt: DateTime.makeUnsafe(at)
    })
    const reader = (id: string, upTo: number) => ({ id, name: id.toUpperCase(), upTo: DateTime.makeUnsafe(upTo) })
    const messages = [message("1", "me", 10), message("2", "bob", 20), message("3", "me", 30)]
    const readers = [reader("me", 30), reader("ada", 25), reader("bob", 25), reader("eve", 9), reader("zoe", 99)]
    const shown = readersByMessage(messages, readers, "me")
    expect(Array.from(shown, ([id, readers]) => [id, ...readers.map(({ id }) => id)])).toEqual([
      ["2", "ada"],
      ["3", "zoe"]
    ])
  })
})
