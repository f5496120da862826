import * as DateTime from "effect/DateTime"
import { useEffect, useRef } from "react"
import type { Shown } from "../attachments/api.ts"
import type { Reader } from "../reading/api.ts"
import type { Message } from "../schema.ts"
import { Actions } from "./Actions.tsx"
import { Attachments } from "./Attachments.tsx"
import { EditMessage } from "./EditMessage.tsx"
import { Face } from "./Face.tsx"
import { Icon } from "./Icon.tsx"
import { namesOf } from "./names.ts"
import { PendingMark } from "./Pending.tsx"
import { PreviewCard } from "./PreviewCard.tsx"
import { isLocal } from "./sending.ts"
import { Text } from "./Text.tsx"
import { Time } from "./Time.tsx"
import { dayOf, nameOfDay, soonOf, timeOf } from "./times.ts"

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
  /** Whether a change of it has no answer yet. */
  readonly isChanging: boolean
  /** Whether its text is a field. */
  readonly isEditing: boolean
  readonly onEdit: (message: Message) => void
  readonly onCancel: () => void
  readonly onSave: (message: Message, body: string) => void
  readonly onDelete: (message: Message) => void
}

/** Whether the user may change the text of a message: it is their own, and they have not imported it. */
export const canEdit = (message: Message, me: string): boolean =>
  message.author === me && message.from === undefined && !isLocal(message)

/** A message. The first of a day has the name of the day above it. */
export const Row = ({ before, files, isChanging, isEditing, isMine, message, readers, ...on }: RowProps) => {
  const at = atOf(message)
  const name = message.from ?? message.name
  const isNewDay = before === undefined || dayOf(atOf(before)) !== dayOf(at)
  const follows = !isNewDay && isSameAuthor(before, message) && at - atOf(before) < together
  const row = useRef<HTMLLIElement>(null)
  const wasEditing = useRef(isEditing)
  useEffect(() => {
    // The field had the focus, which goes back to the button that is there in its place.
    if (wasEditing.current && !isEditing && document.activeElement === document.body) {
      const buttons = row.current?.querySelectorAll<HTMLElement>(".actions button") ?? []
      Array.from(buttons)
        .find((button) => button.checkVisibility())
        ?.focus()
    }
    wasEditing.current = isEditing
  }, [isEditing])
  return (
    <>
      {isNewDay && (
        <li className="day">
          <span>{nameOfDay(at, Date.now())}</span>
        </li>
      )}
      <li
        ref={row}
        className="message"
        data-follows={follows || undefined}
        data-mine={isMine || undefined}
        data-local={isLocal(message) || undefined}
      >
        {!follows && <Face id={message.from ?? message.author} name={name} />}
        <p className={follows ? "hidden" : "who"}>
          <span className="author" title={name}>
            {name}
          </span>
          {message.from !== undefined && <span className="note">imported by {message.name}</span>}
          {isMine && message.from === undefined && <span className="me">you</span>}
          <Time at={at}>{timeOf(at)}</Time>
        </p>
        {isEditing ? (
          <EditMessage message={message} onCancel={on.onCancel} onSave={(body) => on.onSave(message, body)} />
        ) : (
          (message.body !== "" || message.editedAt !== undefined) && (
            <p className="body">
              <Text text={message.body} />
              {message.editedAt !== undefined && (
                <Time at={DateTime.toEpochMillis(message.editedAt)} className="edited">
                  {" (edited)"}
                </Time>
              )}
            </p>
          )
        )}
        {message.files !== undefined && <Attachments count={message.files} files={files} />}
        {message.preview !== undefined && <PreviewCard {...message.preview} />}
        {message.expiresAt !== undefined && <Expiry at={DateTime.toEpochMillis(message.expiresAt)} />}
        {(isLocal(message) || isChanging) && <PendingMark doing={isChanging ? "Saving…" : "Sending…"} />}
        {isMine && !isLocal(message) && !isEditing && (
          <Actions
            canEdit={message.from === undefined}
            onEdit={() => on.onEdit(message)}
            onDelete={() => on.onDelete(message)}
          />
        )}
        {readers.length > 0 && <p className="state read">Read by {namesOf(readers.map(({ name }) => name))}</p>}
      </li>
    </>
  )
}

/** When the message disappears. */
const Expiry = ({ at }: { readonly at: number }) => (
  <p className="state">
    <Icon name="clock" /> Disappears <Time at={at}>{soonOf(at, Date.now())}</Time>
  </p>
)

/** Messages of one account under another name, such as those of a guest who has signed up, are not shown as one group. */
const isSameAuthor = (a: Message, b: Message): boolean =>
  a.author === b.author && a.name === b.name && a.from === b.from
