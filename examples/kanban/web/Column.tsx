import { type DragEvent, type FormEvent, useId, useState } from "react"
import { type Card, CardId, type Column as ColumnRow, type Person } from "../schema.ts"
import { CardView } from "./CardView.tsx"
import type { Changes } from "./changes.ts"
import { dragged, stepOf } from "./moving.ts"

interface Props {
  readonly column: ColumnRow
  readonly cards: ReadonlyArray<Card>
  readonly people: ReadonlyArray<Person>
  readonly previous: ColumnRow | undefined
  readonly next: ColumnRow | undefined
  readonly changes: Changes
  readonly onOpen: (card: CardId) => void
}

/** A column. Cards are dropped in front of the card under the pointer, or at the end. */
export const Column = ({ cards, changes, column, next, onOpen, people, previous }: Props) => {
  const heading = useId()
  const [isOver, setOver] = useState(false)

  /** Puts the card that was dropped in front of another one, or at the end. */
  const drop = (event: DragEvent, before?: number) => {
    const id = event.dataTransfer.getData(dragged)
    if (id === "") return
    event.preventDefault()
    event.stopPropagation()
    setOver(false)
    const others = cards.filter((card) => card.id !== id)
    const at = before === undefined ? others.length : others.findIndex((card) => card.id === cards[before]?.id)
    // On itself: it stays where it is.
    if (at !== -1) changes.move(CardId.make(id), column.id, others[at - 1]?.id ?? null)
  }

  return (
    <section
      className="column"
      data-over={isOver}
      aria-labelledby={heading}
      onDragOver={(event) => {
        if (!event.dataTransfer.types.includes(dragged)) return
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => drop(event)}
    >
      <h2 id={heading}>
        {column.name} <span className="count">{cards.length}</span>
      </h2>
      <ol>
        {cards.map((card, index) => (
          <CardView
            key={card.id}
            card={card}
            assignee={people.find(({ id }) => id === card.assignee)}
            onOpen={() => onOpen(card.id)}
            onDrop={(event) => drop(event, index)}
            onStep={(direction) => {
              const step = stepOf(direction, cards, index, previous, next)
              if (step !== undefined) changes.move(card.id, step.column ?? column.id, step.after)
            }}
          />
        ))}
      </ol>
      <NewCard onAdd={(title) => changes.add(column.id, title)} column={column.name} />
    </section>
  )
}

const NewCard = ({ column, onAdd }: { readonly column: string; readonly onAdd: (title: string) => void }) => {
  const [title, setTitle] = useState("")
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (title.trim() === "") return
    onAdd(title.trim())
    setTitle("")
  }
  return (
    <form onSubmit={submit}>
      <input
        aria-label={`New card in ${column}`}
        placeholder="Add a card"
        value={title}
        maxLength={200}
        onChange={(event) => setTitle(event.target.value)}
      />
    </form>
  )
}
