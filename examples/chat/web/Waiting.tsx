import * as DateTime from "effect/DateTime"
import type { Waiting as Waits } from "../scheduled/api.ts"
import type { ChannelId } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"
import { Time } from "./Time.tsx"
import { soonOf } from "./times.ts"

/** The user's messages to this channel that wait for their time. */
export const Waiting = ({ channel }: { readonly channel: ChannelId }) => {
  const { value = [] } = useLive("scheduled.list", {})
  const waiting = value.filter(({ message }) => message.channel === channel)
  return (
    waiting.length > 0 && (
      <section className="waiting" aria-label="Messages that are sent later">
        <ul>
          {waiting.map((each) => (
            <Item key={each.message.id} {...each} />
          ))}
        </ul>
      </section>
    )
  )
}

const Item = ({ hasFailed, message: { at, body, id } }: Waits) => {
  const [send, isSending] = useMutation("scheduled.send")
  const [cancel, isCancelling] = useMutation("scheduled.cancel")
  const isPending = isSending || isCancelling
  const millis = DateTime.toEpochMillis(at)
  return (
    <li>
      <p>
        <span className="state">
          {hasFailed ? (
            "Could not be sent"
          ) : (
            <>
              Will be sent <Time at={millis}>{soonOf(millis, Date.now())}</Time>
            </>
          )}
        </span>
        <span className="excerpt">{body}</span>
      </p>
      <span className="line">
        {!hasFailed && (
          <button
            type="button"
            className="plain"
            aria-label={`Send now: ${body}`}
            disabled={isPending}
            onClick={() => send({ id }).catch(() => undefined)}
          >
            Send now
          </button>
        )}
        <button
          type="button"
          className="plain"
          aria-label={`${hasFailed ? "Discard" : "Cancel"}: ${body}`}
          disabled={isPending}
          onClick={() => cancel({ id }).catch(() => undefined)}
        >
          {hasFailed ? "Discard" : "Cancel"}
        </button>
      </span>
    </li>
  )
}
