import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type { Reader } from "../reading/api.ts"
import type { Message, MessageId } from "../schema.ts"

/** Between two marks of a page. */
const pause = "3 seconds"

/** Marks the newest of the messages that arrive, at once and then every few seconds; the last one also when interrupted. */
export const markEach = <E>(
  newest: Queue.Dequeue<MessageId>,
  mark: (message: MessageId) => Effect.Effect<unknown, E>
): Effect.Effect<never> => {
  const one = (message: MessageId) => Effect.ignore(mark(message))
  const rest = Effect.flatMap(Queue.poll(newest), Option.match({ onNone: () => Effect.void, onSome: one }))
  const next = Effect.andThen(Effect.flatMap(Queue.take(newest), one), Effect.sleep(pause))
  return Effect.ensuring(Effect.forever(next), rest)
}

/** For each message those who have read up to it and no further, but for its author and for `me`. */
export const readersByMessage = (
  messages: ReadonlyArray<Pick<Message, "author" | "id" | "sentAt">>,
  readers: ReadonlyArray<Reader>,
  me: string
): ReadonlyMap<string, ReadonlyArray<Reader>> => {
  const byMessage = new Map<string, Array<Reader>>()
  for (const reader of readers) {
    const last = messages.findLast(({ sentAt }) => DateTime.isLessThanOrEqualTo(sentAt, reader.upTo))
    if (last === undefined || reader.id === me || reader.id === last.author) continue
    byMessage.set(last.id, [...(byMessage.get(last.id) ?? []), reader])
  }
  return byMessage
}
