import * as DateTime from "effect/DateTime"
import { useCallback, useState } from "react"
import type { Caller } from "../api.ts"
import type { AttachmentId } from "../attachments/schema.ts"
import { type ChannelId, type Lifetime, Message, MessageId } from "../schema.ts"
import { useMutation } from "./client.ts"

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
      try {
        const outcome = await call(draft)
        if (outcome._tag === "Failure") fail(reasonOf(outcome.error))
      } catch {
        fail("Something went wrong on the server.")
      }
    },
    [call]
  )
  return { send, later, failed, forget }
}

type Outcome = Awaited<ReturnType<ReturnType<typeof useMutation<"messages.send">>[0]>>

const reasonOf = (error: Extract<Outcome, { _tag: "Failure" }>["error"]): string => {
  switch (error._tag) {
    case "ChannelNotFound":
      return "This channel does not exist any more."
    case "AttachmentNotFound":
      return "A file of it is not there any more."
    case "OutcomeUnknown":
      return "The server did not answer. It may have been sent all the same."
    case "OutcomePending":
      return "It is sent as soon as the server answers."
    case "ConnectionRefused":
      return "You may not write here."
    case "CallError":
      return reasonOfCall(error.reason._tag)
  }
}

const reasonOfCall = (tag: string): string => {
  switch (tag) {
    case "LimitExceeded":
      return "The message is too long."
    case "Unauthenticated":
    case "Forbidden":
      return "You may not write here."
    default:
      return "The server could not be reached."
  }
}
