import * as DateTime from "effect/DateTime"
import { useCallback, useState } from "react"
import { type ChannelId, Message, MessageId } from "../schema.ts"
import { useMutation } from "./client.ts"

/** A message as it is written. */
export interface Draft {
  readonly channel: ChannelId
  readonly author: string
  readonly body: string
}

/** A message that could not be sent, and why. */
export interface Failed extends Draft {
  readonly id: string
  readonly reason: string
}

export interface Sending {
  readonly send: (draft: Draft) => void
  readonly failed: ReadonlyArray<Failed>
  readonly forget: (id: string) => void
}

/** Messages that the server does not have yet have an id like this. */
export const isLocal = ({ id }: Message): boolean => id.startsWith("local-")

/** Sends messages: they are shown at once, and those that fail are kept for another try. */
export const useSending = (): Sending => {
  const [failed, setFailed] = useState<ReadonlyArray<Failed>>([])
  const forget = useCallback((id: string) => setFailed((failed) => failed.filter((message) => message.id !== id)), [])
  const [call] = useMutation("messages.send", {
    optimistic: (view, draft) => {
      const message = new Message({
        ...draft,
        id: MessageId.make(`local-${crypto.randomUUID()}`),
        sentAt: DateTime.nowUnsafe()
      })
      // Newest first: it belongs to the page that begins at the beginning.
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
  return { send, failed, forget }
}

type Outcome = Awaited<ReturnType<ReturnType<typeof useMutation<"messages.send">>[0]>>

const reasonOf = (error: Extract<Outcome, { _tag: "Failure" }>["error"]): string => {
  switch (error._tag) {
    case "ChannelNotFound":
      return "This channel does not exist any more."
    case "OutcomeUnknown":
      return "The server did not answer. It may have been sent all the same."
    case "CallError":
      return error.reason._tag === "LimitExceeded" ? "The message is too long." : "The server could not be reached."
  }
}
