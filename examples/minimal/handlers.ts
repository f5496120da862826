import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import { ChannelExists, ChannelNotFound, ChatApi, PreviewFailed } from "./api.ts"
import { channels, messages } from "./schema.ts"

export const ChatHandlers = ChatApi.toLayer({
  "channels.create": ({ name }) =>
    channels
      .insert({ name })
      .pipe(Effect.catchReason("StorageError", "UniqueViolation", () => Effect.fail(new ChannelExists({ name })))),

  "channels.list": () => channels.query("byName"),

  "messages.send": Effect.fnUntraced(function* ({ channel, author, body }) {
    yield* channels
      .get(channel)
      .pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new ChannelNotFound({ channel }))))
    return yield* messages.insert({ channel, author, body })
  }),

  "messages.list": ({ channel, limit }) => messages.query("byChannel").eq("channel", channel).descending.take(limit),

  "messages.page": ({ channel, ...page }) => messages.query("byChannel").eq("channel", channel).descending.page(page),

  "links.preview": Effect.fnUntraced(
    function* ({ url }) {
      const response = yield* HttpClient.get(url)
      const title = /<title[^>]*>([^<]*)/i.exec(yield* response.text)?.[1]?.trim()
      return { title: title || url }
    },
    (effect, { url }) =>
      Effect.catchTag(effect, "HttpClientError", (error) =>
        Effect.fail(new PreviewFailed({ url, reason: error.reason._tag }))
      )
  )
})
