import type { Message } from "../schema.ts"
import { countOf } from "./Attachments.tsx"
import { Dialog } from "./Dialog.tsx"

interface Props {
  /** The message that is to be deleted, if the user has chosen one. */
  readonly message: Message | undefined
  readonly onDelete: (message: Message) => void
  readonly onClose: () => void
}

/** Asks before a message is deleted, which cannot be undone. */
export const DeleteMessage = ({ message, onClose, onDelete }: Props) => (
  <Dialog title="Delete this message?" closing="Keep it" isFinal isOpen={message !== undefined} onClose={onClose}>
    {message && (
      <>
        {message.body !== "" && <blockquote className="quoted">{message.body}</blockquote>}
        <p className="about">
          It disappears for everybody{message.files !== undefined && `, with ${countOf(message.files)}`}. This cannot be
          undone.
        </p>
        <button type="button" className="primary danger" onClick={() => onDelete(message)}>
          Delete
        </button>
      </>
    )}
  </Dialog>
)
