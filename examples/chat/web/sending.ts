import * as DateTime from "effect/DateTime"
import { useCallback, useState } from "react"
import type { Caller } from "../api.ts"
import type { AttachmentId } from "../attachments/schema.ts"
import { type ChannelId, type Lifetime, Message, MessageId } from "../schema.ts"
import { useMutation } from "./client.ts"
import { defect, reasonOf } from "./reasons.ts"

/** A message that is not sent yet. */
export interface Draft extends Words {
  readonly channel: ChannelId
}

/** What the user wrote, and how long it stays: for ever unless given. */
export interface Words {
  readonly body: string
  readonly lifetime?: Lifetime
  /** Files that were uploaded. */
  readonly files?: ReadonlyArray<AttachmentId>
}

/** A message that could not be sent, and why. */
export interface Failed extends Draft {
  readonly id: string
  readonly reason: string
}

/** How the page sends messages. */
export interface Sending {
  /** Sends a message. It is shown at once. */
  readonly send: (draft: Draft) => void
  /** Has a message sent at a time, in milliseconds. Returns whether the server does so. */
  readonly later: (draft: Draft, at: number) => Promise<boolean>
  /** How many messages the server has not answered. */
  readonly pending: number
  /** The messages that could not be sent. */
  readonly failed: ReadonlyArray<Failed>
  /** Removes a message from `failed`. */
  readonly forget: (id: string) => void
}

/** Whether a message is an optimistic one, which the server has not confirmed. */
export const isLocal = ({ id }: Message): boolean => id.startsWith("local-")

/** Sends messages. They are shown at once; those that fail are kept, so that the user can send them again. */
export const useSending = (me: Caller): Sending => {
  const [failed, setFailed] = useState<ReadonlyArray<Failed>>([])
  const [pending, setPending] = useState(0)
  const forget = useCallback((id: string) => setFailed((failed) => failed.filter((message) => message.id !== id)), [])
  const [schedule] = useMutation("scheduled.add")
  const later = useCallback(
    ({ files: _files, ...draft }: Draft, at: number) =>
      schedule({ ...draft, at: DateTime.makeUnsafe(at) }).then(
        ({ _tag }) => _tag === "Success",
        () => false
      ),
    [schedule]
  )
  const [call] = useMutation("messages.send", {
    optimistic: (view, draft) => {
      const message = new Message({
        channel: draft.channel,
        body: draft.body,
        author: me.id,
        name: me.name,
        id: MessageId.make(`local-${crypto.randomUUID()}`),
        sentAt: DateTime.nowUnsafe(),
        ...(draft.files && { files: draft.files.length })
      })
      // Newest first: a new message belongs to the first page, whose start cursor is `null`.
      view.updateEach("messages.page", (page, { after, channel }) =>
        after === null && channel === draft.channel ? { ...page, items: [message, ...page.items] } : page
      )
    }
  })
  const send = useCallback(
    async (draft: Draft) => {
      const fail = (reason: string) => setFailed((failed) => [...failed, { ...draft, id: crypto.randomUUID(), reason }])
      setPending((pending) => pending + 1)
      try {
        const outcome = await call(draft)
        if (outcome._tag === "Failure") fail(reasonOf(outcome.error))
      } catch {
        fail(defect)
      }
      setPending((pending) => pending - 1)
    },
    [call]
  )
  return { send, later, pending, failed, forget }
}
