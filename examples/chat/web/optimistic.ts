/**
 * What the page shows of a call before the server has answered: changes of a loaded page of messages, newest first.
 * They are functions from data to data, which `useMutation` applies and takes back.
 */
import * as DateTime from "effect/DateTime"
import { Message, type MessageId } from "../schema.ts"

/** A page of messages. */
interface Messages {
  readonly items: ReadonlyArray<Message>
}

/** The page with another text of a message. */
export const withEdit = <P extends Messages>(page: P, id: MessageId, body: string): P => ({
  ...page,
  items: page.items.map((message) =>
    message.id === id ? new Message({ ...message, body, editedAt: DateTime.nowUnsafe() }) : message
  )
})

/** The page without a message. */
export const without = <P extends Messages>(page: P, id: MessageId): P => ({
  ...page,
  items: page.items.filter((message) => message.id !== id)
})
