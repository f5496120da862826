import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { useEffect, useRef, useSyncExternalStore } from "react"
import type { ChannelId, Message, MessageId } from "../schema.ts"
import { useClient, useLive } from "./client.ts"
import { markEach, readersByMessage } from "./readMarks.ts"
import { isLocal } from "./sending.ts"

/** Who else has read up to which message, and the newest message if the user has not marked it as read. */
export const useReaders = (channel: ChannelId, messages: ReadonlyArray<Message>, me: string) => {
  const { value: readers } = useLive("reading.list", { channel })
  const confirmed = messages.filter((message) => !isLocal(message))
  const last = confirmed.at(-1)
  const own = readers?.find(({ id }) => id === me)
  const isNew = last !== undefined && (own === undefined || DateTime.isLessThan(own.upTo, last.sentAt))
  return {
    readers: readersByMessage(confirmed, readers ?? [], me),
    unread: isNew && readers !== undefined ? last.id : undefined
  }
}

/** Marks a message as the last that the user has read, while the page is visible. */
export const useMarking = (newest: MessageId | undefined): void => {
  const isVisible = useVisible()
  const queue = useRef<Queue.Queue<MessageId>>(undefined)
  const seen = useRef<MessageId>(undefined)
  useEffect(() => {
    if (newest === undefined || !isVisible) return
    seen.current = newest
    if (queue.current !== undefined) Queue.offerUnsafe(queue.current, newest)
  }, [newest, isVisible])
  useClient(
    (client) =>
      Effect.flatMap(Queue.sliding<MessageId>(1), (made) => {
        queue.current = made
        if (seen.current !== undefined) Queue.offerUnsafe(made, seen.current)
        return markEach(made, (message) => client.mutate("reading.mark", { message }))
      }),
    []
  )
}

const useVisible = (): boolean =>
  useSyncExternalStore(
    (listener) => {
      document.addEventListener("visibilitychange", listener)
      return () => document.removeEventListener("visibilitychange", listener)
    },
    () => document.visibilityState === "visible"
  )
