import { type FormEvent, useEffect, useId, useRef, useState } from "react"
import type { Card, Column, Person } from "../schema.ts"
import { Comments } from "./Comments.tsx"
import type { Changes } from "./changes.ts"

interface Props {
  readonly card: Card
  readonly columns: ReadonlyArray<Column>
  readonly people: ReadonlyArray<Person>
  readonly me: Person
  readonly changes: Changes
  readonly onClose: () => void
}

/** All of a card: its texts, its column, who does it, and what people say about it. */
export const CardDialog = ({ card, changes, columns, me, onClose, people }: Props) => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [title, setTitle] = useState<string>(card.title)
  const [notes, setNotes] = useState<string>(card.notes)
  const [titleField, notesField, columnField, assigneeField] = [useId(), useId(), useId(), useId()]
  useEffect(() => dialog.current?.showModal(), [])
  const save = (event: FormEvent) => {
    event.preventDefault()
    const text = title.trim()
    const edited = {
      ...(text !== "" && text !== card.title && { title: text }),
      ...(notes !== card.notes && { notes })
    }
    if (Object.keys(edited).length > 0) changes.edit(card.id, edited)
    dialog.current?.close()
  }
  return (
    <dialog ref={dialog} aria-label={card.title} onClose={onClose}>
      <form onSubmit={save} className="fields">
        <label htmlFor={titleField}>Title</label>
        <input id={titleField} value={title} maxLength={200} onChange={(event) => setTitle(event.target.value)} />
        <label htmlFor={notesField}>Notes</label>
        <textarea
          id={notesField}
          rows={5}
          value={notes}
          maxLength={10_000}
          onChange={(event) => setNotes(event.target.value)}
        />
        <label htmlFor={columnField}>Column</label>
        <select
          id={columnField}
          value={card.column}
          onChange={({ target: { value } }) => {
            const column = columns.find(({ id }) => id === value)
            if (column !== undefined) changes.move(card.id, column.id, null)
          }}
        >
          {columns.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
        <label htmlFor={assigneeField}>Assigned to</label>
        <select
          id={assigneeField}
          value={card.assignee ?? ""}
          onChange={({ target: { value } }) =>
            changes.assign(card.id, people.find(({ id }) => id === value)?.id ?? null)
          }
        >
          <option value="">Nobody</option>
          {people.map(({ id, name }) => (
            <option key={id} value={id}>
              {id === me.id ? `${name} (you)` : name}
            </option>
          ))}
        </select>
        <div className="line">
          <button type="submit">Save</button>
          <button
            type="button"
            className="plain"
            onClick={() => {
              changes.remove(card.id)
              dialog.current?.close()
            }}
          >
            Delete the card
          </button>
          <button type="button" className="plain" onClick={() => dialog.current?.close()}>
            Close
          </button>
        </div>
      </form>
      <Comments card={card.id} people={people} me={me} />
    </dialog>
  )
}
