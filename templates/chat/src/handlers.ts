import * as Effect from "effect/Effect"
import { AppApi, ChannelExists, ChannelNotFound } from "./api.ts"
import { channels, messages } from "./schema.ts"

/** Each handler runs as one transaction of the tenant's database. A query is live: it runs again when its rows change. */
export const AppHandlers = AppApi.toLayer({
  "channels.list": () => channels.query("byName").take(200),

  "channels.create": ({ name }) =>
    channels
      .insert({ name })
      .pipe(Effect.catchReason("StorageError", "UniqueViolation", () => Effect.fail(new ChannelExists({ name })))),

  // The newest first: a page shows the last messages, and loads earlier ones.
  "messages.page": ({ channel, ...page }) => messages.query("byChannel").eq("channel", channel).descending.page(page),

  "messages.send": Effect.fnUntraced(function* (message) {
    yield* channels
      .get(message.channel)
      .pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new ChannelNotFound({ channel: message.channel }))))
    return yield* messages.insert(message)
  })
})
