import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { Client } from "effect-dormouse/client"
import { AppApi } from "../api.ts"
import type { Channel, ChannelId, Message } from "../schema.ts"
import { element, find, handle, text } from "./dom.ts"

const name = find("name", HTMLInputElement)
const create = find("create", HTMLFormElement)
const send = find("send", HTMLFormElement)
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" })

name.value = localStorage.getItem("name") ?? ""
name.addEventListener("input", () => localStorage.setItem("name", name.value))

const page = Effect.gen(function* () {
  const client = yield* Client.make(AppApi, { url: location.origin })
  const current = yield* SubscriptionRef.make<ChannelId | undefined>(undefined)

  const channelItem = (channel: Channel, chosen: ChannelId | undefined) => {
    const button = element("button", { type: "button", textContent: `# ${channel.name}` })
    button.setAttribute("aria-current", String(channel.id === chosen))
    handle(button, "click", () => SubscriptionRef.set(current, channel.id))
    return element("li", {}, button)
  }
  const messageItem = ({ author, body, sentAt }: Message) =>
    element(
      "li",
      {},
      element("b", { textContent: author }),
      " ",
      element("time", { textContent: time.format(DateTime.toEpochMillis(sentAt)) }),
      element("p", { textContent: body })
    )

  handle(create, "submit", () =>
    client.mutate("channels.create", { name: text(create, "name") }).pipe(
      Effect.tap(({ id }) => SubscriptionRef.set(current, id)),
      Effect.tap(() => Effect.sync(() => create.reset())),
      Effect.catchTag("ChannelExists", ({ name }) => Effect.fail(new Error(`There is a channel ${name}.`)))
    )
  )
  handle(send, "submit", () =>
    Effect.gen(function* () {
      const channel = yield* SubscriptionRef.get(current)
      const author = name.value.trim()
      if (author === "") return yield* Effect.fail(new Error("Say who you are first."))
      if (channel === undefined) return yield* Effect.fail(new Error("Make a channel first."))
      yield* client.mutate("messages.send", { channel, author, body: text(send, "body") })
      send.reset()
    })
  )

  yield* client.connection.pipe(
    Stream.runForEach(({ _tag }) =>
      Effect.sync(() => (find("connection", HTMLElement).textContent = _tag.toLowerCase()))
    ),
    Effect.forkScoped
  )

  // The channels, now and after every change. The first is current until another is chosen.
  yield* Stream.zipLatest(client.live("channels.list", {}), SubscriptionRef.changes(current)).pipe(
    Stream.runForEach(([channels, chosen]) =>
      chosen === undefined && channels[0] !== undefined
        ? SubscriptionRef.set(current, channels[0].id)
        : Effect.sync(() =>
            find("channels", HTMLElement).replaceChildren(...channels.map((each) => channelItem(each, chosen)))
          )
    ),
    Effect.forkScoped
  )

  // The newest messages of the current channel. Another channel ends the stream of the one before.
  yield* SubscriptionRef.changes(current).pipe(
    Stream.switchMap((channel) =>
      channel === undefined
        ? Stream.empty
        : client.live("messages.page", { channel, size: 50, after: null, until: null })
    ),
    Stream.runForEach(({ items }) =>
      Effect.sync(() => find("messages", HTMLElement).replaceChildren(...items.toReversed().map(messageItem)))
    )
  )
})

Effect.runFork(Effect.scoped(page))
