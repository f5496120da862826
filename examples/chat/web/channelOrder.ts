/**
 * The order of the channels: those with new messages first, both parts in natural order, `general-2` before `general-10`.
 * A channel does not move while its user reads it, nor while the user is at the list.
 */
import type { Channel, ChannelId } from "../schema.ts"

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" })

/** Compares channels by name, numbers in them by value. Channels of one name keep an order as well. */
export const byName = (a: Pick<Channel, "id" | "name">, b: Pick<Channel, "id" | "name">): number =>
  collator.compare(a.name, b.name) || (a.id < b.id ? -1 : 1)

/** The channels in the order in which they are shown. */
export interface Arranged {
  readonly unread: ReadonlyArray<Channel>
  readonly others: ReadonlyArray<Channel>
}

/** Arranges channels. `raised` are those of the first part. */
export const arrange = (channels: ReadonlyArray<Channel>, raised: ReadonlySet<ChannelId>): Arranged => {
  const sorted = channels.toSorted(byName)
  return {
    unread: sorted.filter(({ id }) => raised.has(id)),
    others: sorted.filter(({ id }) => !raised.has(id))
  }
}

/** What decides which channels are in the first part. */
export interface Situation {
  readonly unread: ReadonlySet<ChannelId>
  readonly current: ChannelId | undefined
  /** Whether the pointer or the focus is in the list: what the user is about to choose must not move. */
  readonly isHeld: boolean
}

/** The channels of the first part from now on. The current one stays where it is until the user goes to another one. */
export const raise = (
  raised: ReadonlySet<ChannelId>,
  { current, isHeld, unread }: Situation
): ReadonlySet<ChannelId> => {
  if (isHeld) return raised
  const next = new Set(unread)
  if (current !== undefined && raised.has(current)) next.add(current)
  return next.size === raised.size && [...next].every((id) => raised.has(id)) ? raised : next
}

/** Those whose name contains a text, in upper or lower case. All of them for an empty text. */
export const filterByName = <C extends Pick<Channel, "name">>(
  channels: ReadonlyArray<C>,
  text: string
): ReadonlyArray<C> => {
  const wanted = text.trim().replace(/^#/, "").toLocaleLowerCase()
  return wanted === "" ? channels : channels.filter(({ name }) => name.toLocaleLowerCase().includes(wanted))
}
