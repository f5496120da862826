import { useCallback, useState } from "react"
import type { Message, MessageId } from "../schema.ts"
import { useMutation } from "./client.ts"
import { withEdit, without } from "./optimistic.ts"
import { defect, reasonOf } from "./reasons.ts"

/** What the author does with a message that was sent. */
export interface Change {
  readonly message: Message
  /** The new text. Without one the message is deleted. */
  readonly body?: string
}

/** A change that the server has not made, and why. */
export interface FailedChange extends Change {
  readonly id: string
  readonly reason: string
}

/** How the page changes and deletes messages. */
export interface Changing {
  /** Changes or deletes a message of the user. It is shown at once. */
  readonly change: (change: Change) => void
  /** The messages of changes that the server has not answered, one for each change. */
  readonly pending: ReadonlyArray<MessageId>
  /** The changes that the server has not made. */
  readonly failed: ReadonlyArray<FailedChange>
  /** Removes a change from `failed`. */
  readonly forget: (id: string) => void
}

/** Changes and deletes messages. Those changes that fail are kept, so that the user can try them again. */
export const useChanging = (): Changing => {
  const [failed, setFailed] = useState<ReadonlyArray<FailedChange>>([])
  const [pending, setPending] = useState<ReadonlyArray<MessageId>>([])
  const forget = useCallback((id: string) => setFailed((failed) => failed.filter((change) => change.id !== id)), [])
  const [edit] = useMutation("messages.edit", {
    optimistic: (view, { body, id }) => view.updateEach("messages.page", (page) => withEdit(page, id, body))
  })
  const [remove] = useMutation("messages.delete", {
    optimistic: (view, { id }) => view.updateEach("messages.page", (page) => without(page, id))
  })
  const change = useCallback(
    async (change: Change) => {
      const { body, message } = change
      const { id } = message
      const fail = (reason: string) =>
        setFailed((failed) => [...failed, { ...change, id: crypto.randomUUID(), reason }])
      setPending((pending) => [...pending, id])
      try {
        const outcome = body === undefined ? await remove({ id }) : await edit({ id, body })
        if (outcome._tag === "Failure") fail(reasonOf(outcome.error))
      } catch {
        fail(defect)
      }
      setPending((pending) => pending.toSpliced(pending.indexOf(id), 1))
    },
    [edit, remove]
  )
  return { change, pending, failed, forget }
}
