/**
 * How a message comes into a channel, whoever sends it and whenever.
 * What has to happen later is scheduled in the transaction that inserts the message.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Scheduler } from "effect-dormouse/jobs"
import { TalkApi } from "./api.ts"
import { ChannelNotFound } from "./errors.ts"
import { Me } from "./me.ts"
import { type ChannelId, channels, type Lifetime, messages } from "./schema.ts"

/** A message as its author wrote it. */
export interface Draft {
  readonly channel: ChannelId
  readonly body: string
  readonly lifetime?: Lifetime
}

/** Inserts a message of the caller. One with a lifetime is deleted when that has passed. */
export const post = Effect.fnUntraced(function* ({ body, channel, lifetime }: Draft) {
  const { claims, subject } = yield* Me
  yield* existing(channel)
  const draft = { channel, author: subject, name: claims.name, body }
  if (lifetime === undefined) return yield* messages.insert(draft)
  const expiresAt = DateTime.makeUnsafe((yield* Clock.currentTimeMillis) + Duration.toMillis(lifetime))
  const message = yield* messages.insert({ ...draft, expiresAt })
  // As the system: the author may have lost the channel by then. If the message is gone before, the job finds none.
  yield* Scheduler.at(expiresAt, TalkApi, "messages.delete", { id: message.id }, { as: "system" })
  return message
})

/** The channel. Fails if the caller may not see it, as if it did not exist. */
export const existing = (channel: ChannelId) =>
  channels.get(channel).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new ChannelNotFound({ channel }))))
