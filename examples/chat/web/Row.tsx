import * as DateTime from "effect/DateTime"
import type { Shown } from "../attachments/api.ts"
import type { Reader } from "../reading/api.ts"
import type { Message, MessageId } from "../schema.ts"
import { Attachments, countOf } from "./Attachments.tsx"
import { useConnection, useMutation } from "./client.ts"
import { Face } from "./Face.tsx"
import { Icon } from "./Icon.tsx"
import { namesOf } from "./names.ts"
import { PreviewCard } from "./PreviewCard.tsx"
import { type Failed, isLocal, type Sending } from "./sending.ts"
import { Text } from "./Text.tsx"
import { dayOf, fullTimeOf, nameOfDay, soonOf, timeOf } from "./times.ts"

/** Milliseconds. Consecutive messages of one author within this time are shown as one group. */
const together = 5 * 60_000

const atOf = (message: Message): number => DateTime.toEpochMillis(message.sentAt)

interface RowProps {
  readonly message: Message
  readonly before: Message | undefined
  readonly isMine: boolean
  /** Who has read up to this message and no further. */
  readonly readers: ReadonlyArray<Reader>
  /** Its files, as soon as they are known. */
  readonly files: ReadonlyArray<Shown>
}

/** A message. The first of a day has the name of the day above it. */
export const Row = ({ before, files, isMine, message, readers }: RowProps) => {
  const at = atOf(message)
  const name = message.from ?? message.name
  const isNewDay = before === undefined || dayOf(atOf(before)) !== dayOf(at)
  const follows =
    !isNewDay && before.author === message.author && before.from === message.from && at - atOf(before) < together
  return (
    <>
      {isNewDay && (
        <li className="day">
          <span>{nameOfDay(at, Date.now())}</span>
        </li>
      )}
      <li
        className="message"
        data-follows={follows || undefined}
        data-mine={isMine || undefined}
        data-local={isLocal(message) || undefined}
      >
        {!follows && <Face id={message.from ?? message.author} name={name} />}
        <p className={follows ? "hidden" : "who"}>
          <span className="author">{name}</span>
          {message.from !== undefined && <span className="note">imported by {message.name}</span>}
          {isMine && message.from === undefined && <span className="me">you</span>}
          <Time at={at} />
        </p>
        {message.body !== "" && (
          <p className="body">
            <Text text={message.body} />
          </p>
        )}
        {message.files !== undefined && <Attachments count={message.files} files={files} />}
        {message.preview !== undefined && <PreviewCard {...message.preview} />}
        {message.expiresAt !== undefined && <Expiry at={DateTime.toEpochMillis(message.expiresAt)} />}
        {isLocal(message) ? <SendingWords /> : isMine && <Delete id={message.id} />}
        {readers.length > 0 && <p className="state read">Read by {namesOf(readers.map(({ name }) => name))}</p>}
      </li>
    </>
  )
}

const Time = ({ at }: { readonly at: number }) => (
  <time dateTime={new Date(at).toISOString()} title={fullTimeOf(at)}>
    {timeOf(at)}
  </time>
)

/** When the message disappears. */
const Expiry = ({ at }: { readonly at: number }) => (
  <p className="state" title={fullTimeOf(at)}>
    <Icon name="clock" /> Disappears {soonOf(at, Date.now())}
  </p>
)

const Delete = ({ id }: { readonly id: MessageId }) => {
  const [remove, isPending] = useMutation("messages.delete")
  return (
    <button
      type="button"
      className="quiet delete"
      aria-label="Delete this message"
      title="Delete"
      disabled={isPending}
      onClick={() => remove({ id }).catch(() => undefined)}
    >
      <Icon name="bin" />
    </button>
  )
}

const SendingWords = () => {
  const { _tag } = useConnection()
  return <p className="state">{_tag === "Offline" ? "Waits for the network" : "Sending…"}</p>
}

interface FailedRowProps {
  readonly message: Failed
  readonly name: string
  readonly sending: Sending
}

/** A message that could not be sent. */
export const FailedRow = ({ message, name, sending }: FailedRowProps) => {
  const again = () => {
    sending.forget(message.id)
    const { id: _id, reason: _reason, ...draft } = message
    sending.send(draft)
  }
  return (
    <div className="message failed" role="alert">
      <Face id={name} name={name} />
      <p className="who">
        <span className="author">{name}</span>
        <span>not sent</span>
      </p>
      <p className="body">{message.body || countOf(message.files?.length ?? 0)}</p>
      <p className="state">
        {message.reason}{" "}
        <button type="button" onClick={again}>
          Try again
        </button>
        <button type="button" onClick={() => sending.forget(message.id)}>
          Discard
        </button>
      </p>
    </div>
  )
}
