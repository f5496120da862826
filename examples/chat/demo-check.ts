import type { Address } from "./demo-corpus.ts"
import type { Channel, Message } from "./schema.ts"

/** An address as it was answered: the channel that was created, and each message that `messages.send` gave back. */
export interface Sent {
  readonly address: Address
  readonly channel: Channel
  readonly messages: ReadonlyArray<Message>
}

/** What is wrong with the channels as they are listed; nothing when each is there once and there is no other. */
export const checkChannels = (sent: ReadonlyArray<Sent>, listed: ReadonlyArray<Channel>): ReadonlyArray<string> =>
  compare(
    "the list of channels",
    sent.map(({ channel }) => channel.id).toSorted(),
    listed.map(({ id }) => id).toSorted()
  )

/**
 * What is wrong with the messages of a channel, newest first as they are listed; nothing when each is there once, in the
 * order in which it was sent and with the words that were sent.
 */
export const checkMessages = (
  { address, channel, messages }: Sent,
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
      .filter(({ author }) => author !== address.author)
      .map(({ author, id }) => `message ${id} of ${channel.name} is by ${author}`)
  ]
}

/** The first difference of two lists. */
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
