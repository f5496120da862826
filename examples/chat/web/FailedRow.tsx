import { countOf } from "./Attachments.tsx"
import type { Changing, FailedChange } from "./changing.ts"
import { Face } from "./Face.tsx"
import type { Failed, Sending } from "./sending.ts"

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
    <Unsent
      name={name}
      what="not sent"
      body={message.body || countOf(message.files?.length ?? 0)}
      reason={message.reason}
      onAgain={again}
      onDiscard={() => sending.forget(message.id)}
    />
  )
}

interface FailedChangeRowProps {
  readonly failed: FailedChange
  readonly name: string
  readonly changing: Changing
}

/** A change of a message that the server has not made. */
export const FailedChangeRow = ({ changing, failed, name }: FailedChangeRowProps) => {
  const { body, id, message, reason } = failed
  const again = () => {
    changing.forget(id)
    changing.change(body === undefined ? { message } : { message, body })
  }
  return (
    <Unsent
      name={name}
      what={body === undefined ? "not deleted" : "not changed"}
      body={body ?? (message.body || countOf(message.files ?? 0))}
      reason={reason}
      onAgain={again}
      onDiscard={() => changing.forget(id)}
    />
  )
}

interface UnsentProps {
  readonly name: string
  readonly what: string
  readonly body: string
  readonly reason: string
  readonly onAgain: () => void
  readonly onDiscard: () => void
}

const Unsent = ({ body, name, onAgain, onDiscard, reason, what }: UnsentProps) => (
  <div className="message failed" role="alert">
    <Face id={name} name={name} />
    <p className="who">
      <span className="author">{name}</span>
      <span>{what}</span>
    </p>
    <p className="body">{body}</p>
    <p className="state">
      {reason}{" "}
      <button type="button" onClick={onAgain}>
        Try again
      </button>
      <button type="button" onClick={onDiscard}>
        Discard
      </button>
    </p>
  </div>
)
