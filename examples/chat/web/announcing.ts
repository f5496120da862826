/** Which messages a page announces to screen readers: those of others that arrive after the first ones were shown. */
import * as DateTime from "effect/DateTime"
import type { Message } from "../schema.ts"

/** What was there, or was announced. `since` is in milliseconds, the time of the newest of them. */
export interface Heard {
  readonly ids: ReadonlySet<string>
  readonly since: number
}

/** Before a message has arrived in a channel without messages. */
const nothing: Heard = { ids: new Set(), since: 0 }

/**
 * Takes the confirmed messages of a channel, the oldest first. Returns those to announce, and what is heard afterwards. Without
 * `heard` they are the first ones, and none of them is announced. Nor is one that is older than what was heard, such as one of
 * an older page, or one that comes to the end because a newer one was deleted.
 */
export const announce = (
  heard: Heard | undefined,
  messages: ReadonlyArray<Message>,
  me: string
): { readonly fresh: ReadonlyArray<Message>; readonly heard: Heard } => {
  const from = heard ?? nothing
  const arrived = messages.filter(({ id, sentAt }) => DateTime.toEpochMillis(sentAt) >= from.since && !from.ids.has(id))
  const since = arrived.reduce((since, { sentAt }) => Math.max(since, DateTime.toEpochMillis(sentAt)), from.since)
  // Only those of the same millisecond could be taken for new ones.
  const ids = new Set<string>(since === from.since ? from.ids : [])
  for (const { id, sentAt } of arrived) if (DateTime.toEpochMillis(sentAt) === since) ids.add(id)
  const fresh = heard === undefined ? [] : arrived.filter(({ author, from }) => author !== me && from === undefined)
  return { fresh, heard: { ids, since } }
}
