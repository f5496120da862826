/**
 * How a message comes into a channel, whoever sends it and whenever, and how its author changes it.
 * What has to happen later is scheduled in the transaction that writes the message.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { Scheduler } from "effect-dormouse/jobs"
import { TalkApi } from "./api.ts"
import { ChannelNotFound, MessageEmpty, MessageNotFound } from "./errors.ts"
import { firstLink } from "./links.ts"
import { Me } from "./me.ts"
import { Previews } from "./previews/queue.ts"
import { type ChannelId, channels, type Lifetime, type MessageId, messages } from "./schema.ts"

/** A message as its author wrote it. */
export interface Draft {
  readonly channel: ChannelId
  readonly body: string
  readonly lifetime?: Lifetime
  /** How many files are attached to it afterwards. */
  readonly files?: number
}

/** Inserts a message of the caller. */
export const post = Effect.fnUntraced(function* ({ body, channel, files, lifetime }: Draft) {
  const { claims, subject } = yield* Me
  yield* existing(channel)
  const sentAt = yield* DateTime.now
  const expiresAt = lifetime === undefined ? undefined : DateTime.addDuration(sentAt, lifetime)
  const message = yield* messages.insert({
    channel,
    author: subject,
    name: claims.name,
    body,
    sentAt,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(files !== undefined && { files })
  })
  const { id } = message
  // As the system: the author may have lost the channel by then. If the message is gone before, the job finds none.
  if (expiresAt !== undefined) yield* Scheduler.at(expiresAt, TalkApi, "messages.delete", { id }, { as: "system" })
  const url = firstLink(body)
  if (url !== undefined) yield* Previews.send({ message: id, url }, { as: "system" })
  return message
})

/** The changed text of a message. */
export interface Edit {
  readonly id: MessageId
  readonly body: string
}

/** Changes the text of a message of the caller. The preview of a link goes with the link. */
export const edit = Effect.fnUntraced(
  function* ({ body, id }: Edit) {
    const before = yield* messages.get(id)
    // The policies are asked first: they deny it for the message of somebody else, whatever the text.
    const isSame = body === before.body
    const link = firstLink(body)
    const isSameLink = link === firstLink(before.body)
    const message = yield* messages.patch(id, {
      body,
      ...(!isSame && { editedAt: yield* DateTime.now }),
      ...(!isSameLink && { preview: undefined })
    })
    if (body === "" && message.files === undefined) return yield* new MessageEmpty({ message: id })
    if (link !== undefined && !isSameLink) yield* Previews.send({ message: id, url: link }, { as: "system" })
    return message
  },
  (effect, { id }) => Effect.catchTag(effect, "RowNotFound", () => Effect.fail(new MessageNotFound({ message: id })))
)

/** The channel. Fails if the caller may not see it, as if it did not exist. */
export const existing = (channel: ChannelId) =>
  channels.get(channel).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new ChannelNotFound({ channel }))))
