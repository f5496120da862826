import * as DateTime from "effect/DateTime"
import { type FormEvent, useState } from "react"
import type { Channel } from "../schema.ts"
import { useMutation, usePages } from "./client.ts"

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" })

export const Conversation = ({ author, channel }: { readonly author: string; readonly channel: Channel }) => {
  const { error, hasMore, isLoading, items, loadMore } = usePages("messages.page", { channel: channel.id, size: 30 })
  const [body, setBody] = useState("")
  const [send, isPending] = useMutation("messages.send")
  const canSend = author !== "" && body.trim() !== "" && !isPending
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (!canSend) return
    const outcome = await send({ channel: channel.id, author, body: body.trim() })
    if (outcome._tag === "Success") setBody("")
  }
  return (
    <section aria-label={channel.name}>
      {hasMore && (
        <button type="button" disabled={isLoading} onClick={loadMore}>
          Earlier messages
        </button>
      )}
      <ol className="messages" aria-live="polite">
        {items.toReversed().map(({ author, body, id, sentAt }) => (
          <li key={id}>
            <b>{author}</b> <time>{time.format(DateTime.toEpochMillis(sentAt))}</time>
            <p>{body}</p>
          </li>
        ))}
      </ol>
      {error !== undefined && <p role="alert">{error.message}</p>}
      <form onSubmit={submit}>
        <input
          aria-label={`Message in ${channel.name}`}
          placeholder={author === "" ? "Say who you are first" : `Message in ${channel.name}`}
          maxLength={2000}
          value={body}
          onChange={(event) => setBody(event.target.value)}
        />
        <button type="submit" disabled={!canSend}>
          Send
        </button>
      </form>
    </section>
  )
}
