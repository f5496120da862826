import * as DateTime from "effect/DateTime"
import { useEffect, useRef } from "react"
import type { Channel, ChannelId } from "../schema.ts"
import { useLive } from "./client.ts"

interface Props {
  readonly channel: Channel
  readonly isCurrent: boolean
  readonly onChange: (channel: ChannelId, isUnread: boolean) => void
}

/**
 * Watches whether a channel has a message that is newer than the last time it was current. Messages from before the page was
 * opened are not new. It shows nothing: its channel may move in the list.
 */
export const Watch = ({ channel: { id }, isCurrent, onChange }: Props) => {
  const { value } = useLive("messages.list", { channel: id, limit: 1 })
  const newest = value && Math.max(0, ...value.map(({ sentAt }) => DateTime.toEpochMillis(sentAt)))
  const seen = useRef<number>(undefined)
  useEffect(() => {
    if (newest === undefined) return
    // A newest message that is older than what was seen is there because a newer one was deleted.
    if (seen.current === undefined || (isCurrent && newest > seen.current)) seen.current = newest
    onChange(id, newest > seen.current)
  }, [id, isCurrent, newest, onChange])
  useEffect(() => () => onChange(id, false), [id, onChange])
  return null
}
