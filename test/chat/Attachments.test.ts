import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Blobs } from "effect-dormouse/files"
import { Uploads } from "effect-dormouse/files/client"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import type { AttachmentId } from "../../examples/chat/attachments/schema.ts"
import type { ChannelId } from "../../examples/chat/schema.ts"
import * as Transport from "../../src/client/Transport.ts"
import { becomes, chatWith, type Person, person, tagOf } from "./people.ts"

/** Files of messages in examples/chat. */

/** The bytes that the chat of one test has stored. */
class Bytes extends Context.Service<Bytes, Blobs.MemoryBlobs>()("test/chat/Bytes") {}

/** The chat, whose bytes and time a test has. */
const inTestTime = Layer.suspend(() => {
  const blobs = new Blobs.MemoryBlobs()
  return chatWith({ actionServices: blobs.layer }).pipe(
    Layer.provideMerge(TestClock.layer()),
    Layer.merge(Layer.succeed(Bytes, blobs))
  )
})

const stored = Effect.map(Bytes, ({ stored }) => stored.size)

const png = { name: "a.png", type: "image/png", content: "not really a picture" }

const begin = (client: Person, channel: ChannelId, { content, name, type } = png) =>
  client.mutate("attachments.begin", { channel, file: { name, type, bytes: content.length } })

/** Uploads a file, which is of no message yet. */
const upload = Effect.fnUntraced(function* (client: Person, channel: ChannelId, file = png) {
  const { transport, url } = yield* TestApp
  const fetch = yield* Effect.provide(Transport.Fetch, transport)
  const begun = yield* begin(client, channel, file)
  yield* Uploads.send(begun.upload, new Blob([file.content]), { url }).pipe(
    Stream.runDrain,
    Effect.provideService(Transport.Fetch, fetch)
  )
  return begun.id
})

/** What answers a URL that the chat has given out. */
const download = Effect.fnUntraced(function* (path: string) {
  const { transport, url } = yield* TestApp
  const fetch = yield* Effect.provide(Transport.Fetch, transport)
  return yield* Effect.promise(() => fetch(url + path, {}))
})

const shown = (client: Person, channel: ChannelId) =>
  client.query("attachments.list", { channel, since: null, hour: 0 })

/** The names of the files that somebody sees. */
const names = (client: Person, channel: ChannelId) =>
  Effect.map(shown(client, channel), (files) => files.map(({ name }) => name))

/** Ada and Bob in a channel. */
const meeting = Effect.gen(function* () {
  const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
  const { id } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
  const send = (client: Person, files: ReadonlyArray<AttachmentId>, body = "") =>
    client.mutate("messages.send", { channel: id, body, files })
  return { ada, bob, channel: id, send }
})

describe("files of messages", () => {
  it.effect("are uploaded before, sent in their order with a message, and downloaded by who reads it", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, send } = yield* meeting
      const text = { name: "b.txt", type: "text/plain", content: "words" }
      const [second, first] = [yield* upload(ada, channel), yield* upload(ada, channel, text)]
      // Before they are sent nobody sees them.
      expect([...(yield* names(ada, channel)), ...(yield* names(bob, channel))]).toEqual([])
      const message = yield* send(ada, [first, second])
      expect(message).toMatchObject({ body: "", files: 2 })
      const [words, picture] = yield* shown(bob, channel)
      expect(words).toMatchObject({ message: message.id, name: "b.txt", type: "text/plain", bytes: 5 })
      const responses = [yield* download(words!.url), yield* download(picture!.url)]
      expect(responses.map(({ headers }) => headers.get("content-disposition")?.split(";")[0])).toEqual([
        "attachment",
        "inline"
      ])
      expect(responses.map(({ headers }) => headers.get("x-content-type-options"))).toEqual(["nosniff", "nosniff"])
      const contents = yield* Effect.promise(() => Promise.all(responses.map((response) => response.text())))
      expect(contents).toEqual([text.content, png.content])
      // Of messages from a time on.
      yield* TestClock.adjust("1 minute")
      const since = yield* DateTime.now
      yield* send(ada, [yield* upload(ada, channel, { ...png, name: "c.png" })])
      const newer = yield* bob.query("attachments.list", { channel, since, hour: 0 })
      expect(newer.map(({ name }) => name)).toEqual(["c.png"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("are those of their team: the other one, which not everybody may enter, has files of its own", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada", "acme")
      const { id: channel } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
      const files = [yield* upload(ada, channel)]
      yield* ada.mutate("messages.send", { channel, body: "ours", files })
      const [file] = yield* shown(ada, channel)
      expect((yield* download(file!.url)).status).toBe(200)
      expect((yield* download(file!.url.replace("/acme/", "/main/"))).status).not.toBe(200)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("a message needs a text or a file, and each file is the author's own, ready, and sent once", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, send } = yield* meeting
      const other = (yield* ada.mutate("channels.create", { name: "other", access: "public" })).id
      const [own, twice] = [yield* upload(ada, channel), yield* upload(ada, channel)]
      const refused = (client: Person, ...files: ReadonlyArray<AttachmentId>) =>
        tagOf(send(client, files, "with files"))
      expect(yield* refused(bob, own)).toBe("AttachmentNotFound")
      expect(yield* refused(ada, (yield* begin(ada, channel)).id)).toBe("AttachmentNotFound")
      expect(yield* refused(ada, own, yield* upload(ada, other))).toBe("AttachmentNotFound")
      expect(yield* refused(ada, own, own)).toBe("AttachmentNotFound")
      expect((yield* Effect.exit(send(ada, [])))._tag).toBe("Failure")
      // What was refused has sent no message, and used no file.
      expect(yield* ada.query("messages.list", { channel, limit: 10 })).toEqual([])
      yield* send(ada, [own, twice])
      expect(yield* refused(ada, twice)).toBe("AttachmentNotFound")
      expect(yield* ada.query("messages.list", { channel, limit: 10 })).toHaveLength(1)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("only who may write in a channel uploads, and only who may read it sees and downloads", () =>
    Effect.gen(function* () {
      const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
      const { id: channel } = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
      expect(yield* tagOf(begin(bob, channel))).toBe("ChannelNotFound")
      const anonymous = yield* TestApp.client(ChatApi)
      expect(yield* tagOf(begin(anonymous, channel))).toBe("Unauthenticated")
      const claims = { name: "Guest", isGuest: true, tenants: [] }
      const guest = yield* TestApp.client(ChatApi, { as: { subject: "guest", claims } })
      yield* guest.mutate("people.enter", {})
      yield* ada.mutate("members.invite", { channel, name: "Guest" })
      const files = [yield* upload(guest, channel)]
      yield* guest.mutate("messages.send", { channel, body: "", files })
      expect(yield* names(ada, channel)).toEqual(["a.png"])
      expect(yield* names(bob, channel)).toEqual([])
      // Who is invited sees them, live, until removed.
      const counts = yield* bob.live("attachments.list", { channel, since: null, hour: 0 }).pipe(
        Stream.map((files) => files.length),
        Stream.tap((count) =>
          count === 0
            ? ada.mutate("members.invite", { channel, name: "Bob" })
            : ada.mutate("members.remove", { channel, person: "bob" })
        ),
        Stream.take(3),
        Stream.runCollect
      )
      expect(counts).toEqual([0, 1, 0])
      const refused = (file: { readonly name: string; readonly type: string; readonly bytes: number }) =>
        Effect.map(Effect.flip(ada.mutate("attachments.begin", { channel, file })), (error) =>
          error._tag === "FileRefused" ? error.reason : error._tag
        )
      expect(yield* refused({ name: "a.exe", type: "application/x-msdownload", bytes: 1 })).toBe("type")
      expect(yield* refused({ name: "a.png", type: "image/png", bytes: 20_000_001 })).toBe("bytes")
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("go with their message: when its author deletes it, and when it disappears", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, send } = yield* meeting
      const { id } = yield* send(ada, [yield* upload(ada, channel)])
      const files = [yield* upload(ada, channel, { ...png, name: "b.png" })]
      yield* ada.mutate("messages.send", { channel, body: "burn", lifetime: "1 hour", files })
      const [second, first] = yield* shown(bob, channel)
      expect(yield* tagOf(bob.mutate("messages.delete", { id }))).toBe("Forbidden")
      expect((yield* download(first!.url)).status).toBe(200)
      yield* ada.mutate("messages.delete", { id })
      expect((yield* download(first!.url)).status).toBe(404)
      expect(yield* names(bob, channel)).toEqual(["b.png"])
      yield* becomes(stored, 1)
      yield* TestClock.adjust("1 hour")
      yield* becomes(names(bob, channel), [])
      expect((yield* download(second!.url)).status).not.toBe(200)
      yield* becomes(stored, 0)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("stay when the text of their message is changed, which can be empty then", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* meeting
      const files = [yield* upload(ada, channel)]
      const { id } = yield* ada.mutate("messages.send", { channel, body: "look", files })
      expect((yield* ada.mutate("messages.edit", { id, body: "" })).body).toBe("")
      expect(yield* names(bob, channel)).toEqual(["a.png"])
      expect((yield* ada.mutate("messages.edit", { id, body: "look at this" })).files).toBe(1)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("that are not sent are removed by their author, or after a day; those that were sent stay", () =>
    Effect.gen(function* () {
      const { ada, bob, channel, send } = yield* meeting
      const [sent, removed] = [yield* upload(ada, channel), yield* upload(ada, channel)]
      yield* upload(ada, channel)
      yield* send(ada, [sent])
      yield* bob.mutate("attachments.remove", { id: removed })
      expect(yield* stored).toBe(3)
      yield* ada.mutate("attachments.remove", { id: removed })
      yield* becomes(stored, 2)
      expect(yield* tagOf(send(ada, [removed]))).toBe("AttachmentNotFound")
      yield* ada.mutate("attachments.remove", { id: sent })
      yield* TestClock.adjust("23 hours")
      expect(yield* stored).toBe(2)
      yield* TestClock.adjust("1 hour")
      yield* becomes(stored, 1)
      expect(yield* names(bob, channel)).toEqual(["a.png"])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )
})
