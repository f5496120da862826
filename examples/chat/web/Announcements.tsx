import { useEffect, useRef, useState } from "react"
import type { Message } from "../schema.ts"
import { countOf } from "./Attachments.tsx"
import { announce, type Heard } from "./announcing.ts"
import { isLocal } from "./sending.ts"

/** How many announcements are kept: enough for a screen reader to read what arrived at once. */
const kept = 5

interface Props {
  /** The messages that are shown, the oldest first. `undefined` until they are loaded. */
  readonly messages: ReadonlyArray<Message> | undefined
  readonly me: string
}

/** Announces new messages of others to screen readers. */
export const Announcements = ({ me, messages }: Props) => {
  const heard = useRef<Heard>(undefined)
  const [announced, setAnnounced] = useState<ReadonlyArray<Message>>([])
  useEffect(() => {
    if (messages === undefined) return
    const confirmed = messages.filter((message) => !isLocal(message))
    const next = announce(heard.current, confirmed, me)
    heard.current = next.heard
    if (next.fresh.length > 0) setAnnounced((announced) => [...announced, ...next.fresh].slice(-kept))
  }, [messages, me])
  return (
    <div className="hidden" role="log" aria-live="polite" aria-label="New messages">
      {announced.map(({ body, files = 0, id, name }) => (
        <p key={id}>{`${name}: ${body || countOf(files)}`}</p>
      ))}
    </div>
  )
}
