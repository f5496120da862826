import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { describe } from "vitest"
import { readLines } from "../../examples/chat/imports/lines.ts"
import type { Channel } from "../../examples/chat/schema.ts"
import { becomes, failedJobs, inTestTime, type Person, person, tagOf, untyped } from "./people.ts"

/** Imports of examples/chat: parts of a file in a queue. */

const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `Person ${i % 3}`, text: `line ${i}` }))

const progress = (client: Person) =>
  Effect.map(client.query("imports.list", {}), (all) =>
    all.map(({ done, import: { broken, failed, imported, state } }) => ({ state, done, imported, failed, broken }))
  )

const begin = Effect.fnUntraced(function* (client: Person, { id: channel }: Channel, count: number) {
  return yield* client.mutate("imports.begin", { channel, file: "a.txt", lines: lines(count), broken: 2 })
})

describe("imports", () => {
  it.effect(
    "every line is there once, in the order of the file, above what was there; the chat goes on meanwhile",
    () =>
      Effect.gen(function* () {
        const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
        const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
        yield* ada.mutate("messages.send", { channel: channel.id, body: "before" })
        yield* begin(ada, channel, 700)
        yield* bob.mutate("messages.send", { channel: channel.id, body: "meanwhile" })
        expect((yield* progress(ada))[0]).toMatchObject({ state: "running" })
        expect(yield* progress(bob)).toEqual([])
        yield* becomes(progress(ada), [{ state: "done", done: 700, imported: 700, failed: 0, broken: 2 }], 1000)
        const all = (yield* bob.query("messages.list", { channel: channel.id, limit: 1000 })).toReversed()
        expect(all.map(({ body }) => body)).toEqual([...lines(700).map(({ text }) => text), "before", "meanwhile"])
        expect(all[1]).toMatchObject({ author: "ada", name: "Ada", from: "Person 1" })
      }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("a part that the queue hands over twice is written once, and only by who imports", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const id = yield* begin(ada, channel, 1000)
      const part = lines(2).map((line, number) => ({ ...line, number, at: DateTime.makeUnsafe(0) }))
      const bodies = Effect.map(ada.query("messages.list", { channel: channel.id, limit: 1000 }), (all) =>
        all.filter(({ sentAt }) => DateTime.toEpochMillis(sentAt) === 0).map(({ body }) => body)
      )
      expect(yield* bob.mutate("imports.write", { id, lines: part })).toBe(false)
      expect(yield* bodies).toEqual([])
      expect(yield* ada.mutate("imports.write", { id, lines: part })).toBe(true)
      expect(yield* ada.mutate("imports.write", { id, lines: part })).toBe(true)
      expect(yield* bodies).toEqual(["line 1", "line 0"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("nobody ends another's job by saying that it is a part of an import", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const at = DateTime.addDuration(yield* DateTime.now, "1 hour")
      yield* ada.mutate("scheduled.add", { channel: channel.id, body: "later", at })
      const [waiting] = yield* ada.query("scheduled.list", {})
      const id = yield* begin(bob, channel, 3000)
      const [before] = yield* progress(bob)
      const ended = { id, size: 150, message: waiting!.message.job!, outcome: "failed" }
      expect(yield* tagOf(untyped(bob).mutate("imports.ended", ended))).toBe("Outdated")
      expect((yield* progress(bob))[0]).toMatchObject({ failed: before!.failed, state: "running" })
      yield* TestClock.adjust("1 hour")
      yield* becomes(
        Effect.map(ada.query("scheduled.list", {}), (all) => all.length),
        0
      )
      const newest = yield* ada.query("messages.list", { channel: channel.id, limit: 1 })
      expect(newest.map(({ body }) => body)).toEqual(["later"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("a line from the future stands where it was imported", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { id: channel } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const future = { name: "Bob", text: "in the year 3000", at: DateTime.makeUnsafe("3000-01-01T00:00:00Z") }
      yield* ada.mutate("imports.begin", { channel, file: "a.jsonl", lines: [future], broken: 0 })
      const bodies = Effect.map(ada.query("messages.list", { channel, limit: 10 }), (all) =>
        all.map(({ body }) => body)
      )
      yield* becomes(bodies, ["in the year 3000"])
      yield* TestClock.adjust("1 second")
      yield* ada.mutate("messages.send", { channel, body: "now" })
      expect(yield* bodies).toEqual(["now", "in the year 3000"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("is cancelled by who began it, and writes nothing more", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const id = yield* begin(ada, channel, 3000)
      yield* bob.mutate("imports.cancel", { id })
      expect((yield* progress(ada))[0]).toMatchObject({ state: "running" })
      yield* ada.mutate("imports.cancel", { id })
      expect((yield* progress(ada))[0]).toMatchObject({ state: "cancelled" })
      const count = Effect.map(ada.query("messages.list", { channel: channel.id, limit: 1000 }), (all) => all.length)
      const written = yield* count
      expect(written).toBeLessThan(1000)
      // A part that ran may have written its first lines in the meantime; no other does.
      yield* TestClock.adjust("1 minute")
      expect(yield* count).toBeLessThan(written + 200)
      yield* ada.mutate("imports.dismiss", { id })
      expect(yield* progress(ada)).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("the parts of who has lost the channel fail, and are counted", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const channel = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
      expect(yield* tagOf(begin(bob, channel, 10))).toBe("ChannelNotFound")
      yield* ada.mutate("members.invite", { channel: channel.id, name: "Bob" })
      yield* begin(bob, channel, 3000)
      yield* ada.mutate("members.remove", { channel: channel.id, person: "bob" })
      const ended = Effect.map(progress(bob), ([one]) => ({ state: one!.state, done: one!.done }))
      yield* becomes(ended, { state: "done", done: 3000 }, 1000)
      const [{ failed, imported } = { failed: 0, imported: 0 }] = yield* progress(bob)
      expect(failed).toBeGreaterThan(0)
      expect(yield* ada.query("messages.list", { channel: channel.id, limit: 1000 })).toHaveLength(imported)
      expect(yield* failedJobs).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it("reads text, CSV and JSON lines, and counts the lines that it cannot read", () => {
    const text = readLines("a.txt", "\uFEFFAda: hello: you\r\n\nno colon\nBob:  hi \n: nobody\n")
    expect(text.lines).toEqual([
      { name: "Ada", text: "hello: you" },
      { name: "Bob", text: "hi" }
    ])
    expect(text.broken).toEqual([3, 5])
    const time = "2026-03-29T01:30:00Z"
    const at = DateTime.makeUnsafe(time)
    const csv = readLines("a.csv", `Ada,"well, ""yes""",${time}\nBob,plain\nBob\n`)
    expect(csv.lines).toEqual([
      { name: "Ada", text: 'well, "yes"', at },
      { name: "Bob", text: "plain" }
    ])
    expect(csv.broken).toEqual([3])
    const json = readLines("a.jsonl", `{"name":"Ada","text":"hi","time":"${time}"}\n{"name":"Bob"}\nnull\n{\n`)
    expect(json.lines).toEqual([{ name: "Ada", text: "hi", at }])
    expect(json.broken).toEqual([2, 3, 4])
  })
})
