import type { Address } from "./demo-corpus.ts"
import type { Channel, Message } from "./schema.ts"

/** A speech as it was sent: the channel that was created, and the messages that `messages.send` returned. */
export interface Sent {
  readonly address: Address
  /** The account that sent it. */
  readonly author: string
  readonly channel: Channel
  readonly messages: ReadonlyArray<Message>
}

/** The differences between the channels that were sent and those that are listed. Empty when there are none. */
export const checkChannels = (sent: ReadonlyArray<Sent>, listed: ReadonlyArray<Channel>): ReadonlyArray<string> =>
  compare(
    "the list of channels",
    sent.map(({ channel }) => channel.id).toSorted(),
    listed.map(({ id }) => id).toSorted()
  )

/**
 * The differences between the messages that were sent to a channel and those that are listed, newest first. Empty when
 * each message is listed once, in the order of sending, with the same text and author.
 */
export const checkMessages = (
  { address, author, channel, messages }: Sent,
  listed: ReadonlyArray<Message>
): ReadonlyArray<string> => {
  const oldestFirst = listed.toReversed()
  return [
    ...compare(
      `the ids of ${channel.name}`,
      messages.map(({ id }) => id),
      oldestFirst.map(({ id }) => id)
    ),
    ...compare(
      `the texts of ${channel.name}`,
      address.messages,
      oldestFirst.map(({ body }) => body)
    ),
    ...oldestFirst
      .filter((message) => message.author !== author)
      .map((message) => `message ${message.id} of ${channel.name} is by ${message.author}`)
  ]
}

/** Describes the first difference of two lists. */
const compare = (
  what: string,
  expected: ReadonlyArray<string>,
  actual: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const length = Math.max(expected.length, actual.length)
  for (let i = 0; i < length; i++) {
    if (expected[i] !== actual[i]) {
      return [`${what}: ${expected.length} expected, ${actual.length} found, different from number ${i + 1} on`]
    }
  }
  return []
}
