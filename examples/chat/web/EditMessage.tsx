import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react"
import type { Message } from "../schema.ts"
import { excessOf, Length, tooLong } from "./Length.tsx"

interface Props {
  readonly message: Message
  readonly onSave: (body: string) => void
  readonly onCancel: () => void
}

/** The text of a message while its author changes it. Enter saves it, Escape leaves it as it was. */
export const EditMessage = ({ message, onCancel, onSave }: Props) => {
  const [text, setText] = useState(message.body)
  const field = useRef<HTMLTextAreaElement>(null)
  const [name, note] = [useId(), useId()]
  const body = text.trim()
  const excess = excessOf(body)
  const isEmpty = body === "" && message.files === undefined
  useEffect(() => {
    field.current?.focus()
    field.current?.setSelectionRange(field.current.value.length, field.current.value.length)
  }, [])
  const save = () => {
    if (isEmpty || excess > 0) field.current?.focus()
    else if (body === message.body) onCancel()
    else onSave(body)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") return onCancel()
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    save()
  }
  return (
    <form
      className="edit"
      onSubmit={(event) => {
        event.preventDefault()
        save()
      }}
    >
      <label htmlFor={name} className="hidden">
        Edit your message
      </label>
      <div className="box">
        <textarea
          ref={field}
          id={name}
          rows={1}
          value={text}
          aria-describedby={note}
          aria-invalid={isEmpty || excess > 0}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      {isEmpty ? (
        <p id={note} className="length" data-long>
          A message needs a text. To remove it, delete it.
        </p>
      ) : (
        <Length id={note} body={body} />
      )}
      <div className="line">
        <button type="button" className="plain" onClick={onCancel}>
          Cancel
        </button>
        <button
          type="submit"
          className="primary"
          aria-disabled={isEmpty || excess > 0}
          aria-describedby={note}
          title={excess > 0 ? tooLong(excess) : undefined}
        >
          Save
        </button>
        <p className="hint">
          <span>
            <kbd>Enter</kbd> saves
          </span>
          <span>
            <kbd>Esc</kbd> cancels
          </span>
        </p>
      </div>
    </form>
  )
}
