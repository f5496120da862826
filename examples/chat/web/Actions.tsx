import { type FocusEvent, type KeyboardEvent, useState } from "react"
import { Icon } from "./Icon.tsx"

interface Props {
  readonly canEdit: boolean
  readonly onEdit: () => void
  readonly onDelete: () => void
}

/**
 * What the author can do with a message. With a mouse the buttons appear over the message, with the keyboard when one has
 * the focus. A touch screen has one button that is always there, and shows the others.
 */
export const Actions = ({ canEdit, onDelete, onEdit }: Props) => {
  const [isOpen, open] = useState(false)
  const close = (event: FocusEvent<HTMLElement>) => {
    if (!event.currentTarget.contains(event.relatedTarget)) open(false)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") open(false)
  }
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the buttons in it
    <span className="actions" data-open={isOpen || undefined} onBlur={close} onKeyDown={onKeyDown}>
      <button
        type="button"
        className="quiet more"
        aria-label="Edit or delete"
        aria-expanded={isOpen}
        onClick={() => open(!isOpen)}
      >
        <Icon name="more" />
      </button>
      <span className="buttons">
        {canEdit && (
          <button type="button" className="quiet" aria-label="Edit this message" title="Edit" onClick={onEdit}>
            <Icon name="edit" />
          </button>
        )}
        <button type="button" className="quiet" aria-label="Delete this message" title="Delete" onClick={onDelete}>
          <Icon name="bin" />
        </button>
      </span>
    </span>
  )
}
