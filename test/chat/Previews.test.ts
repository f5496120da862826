import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { describe } from "vitest"
import { isAllowed } from "../../examples/chat/previews/addresses.ts"
import type { MessageId } from "../../examples/chat/schema.ts"
import { becomes, chatWith, failedJobs, person, tagOf, untyped } from "./people.ts"

/** The previews of examples/chat, which a queue reads. */

const html = (body: BodyInit, headers = {}) =>
  new Response(body, { headers: { "content-type": "text/html; charset=utf-8", ...headers } })
const moved = (location: string) => new Response(null, { status: 302, headers: { location } })

/** A chat whose pages are these, and the addresses that it asked for. */
const withPages = (pages: Readonly<Record<string, () => Response>>) => {
  const asked: Array<string> = []
  const http = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, { href }) =>
      Effect.sync(() => {
        asked.push(href)
        return HttpClientResponse.fromWeb(request, pages[href]?.() ?? new Response("no", { status: 404 }))
      })
    )
  )
  return { asked, chat: chatWith({ http }).pipe(Layer.provideMerge(TestClock.layer())) }
}

/** Sends a message, and reads the titles of the channel when the queue is empty. */
const previews = Effect.fnUntraced(function* (body: string, expected: ReadonlyArray<unknown>) {
  const ada = yield* person("Ada")
  const { id: channel } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
  const { id } = yield* ada.mutate("messages.send", { channel, body })
  const list = Effect.map(ada.query("messages.list", { channel, limit: 1 }), (all) => all.map(({ preview }) => preview))
  yield* becomes(list, expected)
  return { ada, channel, id }
})

describe("previews", () => {
  it.effect("a link gets the title and the description of its page, after an attempt that failed", () => {
    let attempts = 0
    const head = "<html><head><title>A\n page</title><meta name=description content='What it says &amp; means'></head>"
    const { chat } = withPages({
      "https://example.com/a": () => moved("/b"),
      "https://example.com/b": () => (attempts++ === 0 ? new Response("", { status: 503 }) : html(head))
    })
    const preview = { url: "https://example.com/a", title: "A page", description: "What it says & means" }
    return previews("See https://example.com/a.", [preview]).pipe(
      Effect.tap(() => Effect.sync(() => expect(attempts).toBe(2))),
      Effect.scoped,
      Effect.provide(chat)
    )
  })

  it.effect("follows the link when the message is changed, and is gone with it, also one that comes late", () => {
    const { asked, chat } = withPages({
      "https://example.com/a": () => html("<title>A</title>"),
      "https://example.com/b": () => html("<title>B</title>")
    })
    return Effect.gen(function* () {
      const a = { url: "https://example.com/a", title: "A" }
      const { ada, channel, id } = yield* previews("https://example.com/a", [a])
      const list = ada.query("messages.list", { channel, limit: 9 })
      const shown = Effect.map(list, (all) => all.map(({ preview }) => preview))
      const edit = (id: MessageId, body: string) => ada.mutate("messages.edit", { id, body })
      // The same link in another text.
      yield* edit(id, "See https://example.com/a")
      expect(yield* shown).toEqual([a])
      yield* edit(id, "See https://example.com/b")
      expect(yield* shown).toEqual([undefined])
      yield* becomes(shown, [{ url: "https://example.com/b", title: "B" }])
      yield* edit(id, "See nothing")
      expect(yield* shown).toEqual([undefined])
      // The link is gone before the queue has asked for its page.
      const late = yield* ada.mutate("messages.send", { channel, body: "https://example.com/a" })
      const before = asked.length
      yield* edit(late.id, "Never mind")
      yield* TestClock.adjust("1 minute")
      yield* becomes(
        Effect.sync(() => asked.length),
        before + 1
      )
      yield* TestClock.adjust("1 minute")
      expect(yield* shown).toEqual([undefined, undefined])
    }).pipe(Effect.scoped, Effect.provide(chat))
  })

  it.effect("a page that fails again and again leaves its message as it is, and no job behind", () => {
    const { asked, chat } = withPages({ "https://example.com/": () => new Response("", { status: 500 }) })
    return Effect.gen(function* () {
      const { ada, id } = yield* previews("https://example.com/", [undefined])
      yield* becomes(
        Effect.sync(() => asked.length),
        3
      )
      yield* TestClock.adjust("1 hour")
      expect(asked.length).toBe(3)
      expect(yield* failedJobs).toEqual([])
      // Nobody but the queue writes previews.
      const preview = { url: "https://evil.example/", title: "Your bank" }
      expect(yield* tagOf(untyped(ada).mutate("messages.preview", { message: id, preview }))).toBe("Outdated")
    }).pipe(Effect.scoped, Effect.provide(chat))
  })

  it.effect("a redirect to a private address is not followed", () => {
    const { asked, chat } = withPages({
      "https://example.com/": () => moved("http://169.254.169.254/secret"),
      "http://169.254.169.254/secret": () => html("<title>secret</title>")
    })
    return Effect.gen(function* () {
      yield* previews("https://example.com/", [undefined])
      yield* TestClock.adjust("1 hour")
      expect(asked).toEqual(["https://example.com/"])
    }).pipe(Effect.scoped, Effect.provide(chat))
  })

  it.effect("of a page that does not end, only the beginning is read", () => {
    let chunks = 0
    const endless = () =>
      new ReadableStream({
        pull: (controller) =>
          controller.enqueue(new TextEncoder().encode(chunks++ === 0 ? "<title>Long" : " ".repeat(65_536)))
      })
    const { chat } = withPages({ "https://example.com/": () => html(endless()) })
    return previews("https://example.com/", [{ url: "https://example.com/", title: "Long" }]).pipe(
      Effect.tap(() => Effect.sync(() => expect(chunks).toBeLessThan(10))),
      Effect.scoped,
      Effect.provide(chat)
    )
  })

  it("asks public addresses alone", () => {
    const refused = [
      "ftp://example.com/",
      "http://localhost/",
      "http://localhost./",
      "http://sub.localhost/",
      "http://router/",
      "http://printer.local/",
      "http://127.0.0.1/",
      "http://0x7f.1/",
      "http://2130706433/",
      "http://0.0.0.0/",
      "http://10.1.2.3/",
      "http://172.16.0.1/",
      "http://172.31.255.255/",
      "http://192.168.1.1/",
      "http://100.64.0.1/",
      "http://169.254.169.254/latest/meta-data",
      "http://224.0.0.1/",
      "http://[::1]/",
      "http://[::ffff:127.0.0.1]/",
      "http://[fe80::1]/",
      "http://[fd00::1]/",
      "http://[64:ff9b::7f00:1]/",
      "http://[2002:7f00:1::]/",
      "http://[2001::1]/",
      "https://user:secret@example.com/",
      "https://example.com:8443/"
    ]
    expect(refused.filter((url) => isAllowed(new URL(url), []))).toEqual([])
    const accepted = ["https://example.com/", "http://8.8.8.8/", "http://172.32.0.1/", "http://[2606:4700::1111]/"]
    expect(accepted.filter((url) => !isAllowed(new URL(url), []))).toEqual([])
    expect(isAllowed(new URL("http://127.0.0.1:3000/"), ["127.0.0.1:3000"])).toBe(true)
    expect(isAllowed(new URL("http://127.0.0.1:3001/"), ["127.0.0.1:3000"])).toBe(false)
  })
})
