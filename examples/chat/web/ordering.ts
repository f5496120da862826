import { useCallback, useRef, useState } from "react"
import type { Channel, ChannelId } from "../schema.ts"
import { type Arranged, arrange, raise } from "./channelOrder.ts"

/** The list of channels as it is shown, and what changes its order. */
export interface Ordering extends Arranged {
  /** Whether a channel has messages that the user has not seen. */
  readonly isUnread: (channel: ChannelId) => boolean
  /** A channel has messages that the user has not seen, or has none. */
  readonly mark: (channel: ChannelId, isUnread: boolean) => void
  /** Whether the order has to stay as it is. */
  readonly hold: (isHeld: boolean) => void
}

const none: ReadonlySet<ChannelId> = new Set()

/** Arranges the channels. */
export const useOrdering = (channels: ReadonlyArray<Channel>, current: Channel | undefined): Ordering => {
  const [unread, setUnread] = useState(none)
  const latest = useRef(unread)
  const [isHeld, hold] = useState(false)
  const [raised, setRaised] = useState(none)
  const next = raise(raised, { unread, isHeld, current: current?.id })
  // React renders again at once, before it shows anything.
  if (next !== raised) setRaised(next)
  const mark = useCallback((channel: ChannelId, isUnread: boolean) => {
    // Every channel tells it when the page opens: only what changes something is worth a render.
    if (latest.current.has(channel) === isUnread) return
    const next = new Set(latest.current)
    if (isUnread) next.add(channel)
    else next.delete(channel)
    latest.current = next
    setUnread(next)
  }, [])
  return { ...arrange(channels, next), isUnread: (channel) => unread.has(channel), mark, hold }
}
