import type { DragEvent, KeyboardEvent } from "react"
import type { Card, Person } from "../schema.ts"
import { type Direction, dragged } from "./moving.ts"

interface Props {
  readonly card: Card
  readonly assignee: Person | undefined
  readonly onOpen: () => void
  readonly onDrop: (event: DragEvent) => void
  readonly onStep: (direction: Direction) => void
}

const directions: Readonly<Record<string, Direction>> = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right"
}

/** A card in its column. It is dragged, or moved by the arrow keys with Alt; a click opens it. */
export const CardView = ({ assignee, card, onDrop, onOpen, onStep }: Props) => {
  const onKeyDown = (event: KeyboardEvent) => {
    const direction = directions[event.key]
    if (!event.altKey || direction === undefined) return
    event.preventDefault()
    onStep(direction)
  }
  return (
    <li className="card" onDrop={onDrop}>
      <button
        type="button"
        draggable
        aria-keyshortcuts="Alt+ArrowUp Alt+ArrowDown Alt+ArrowLeft Alt+ArrowRight"
        onClick={onOpen}
        onKeyDown={onKeyDown}
        onDragStart={(event) => {
          event.dataTransfer.setData(dragged, card.id)
          event.dataTransfer.effectAllowed = "move"
        }}
      >
        <span className="title">{card.title}</span>
        <span className="facts">
          {assignee !== undefined && <span>{assignee.name}</span>}
          {card.comments > 0 && <span>{card.comments === 1 ? "1 comment" : `${card.comments} comments`}</span>}
        </span>
      </button>
    </li>
  )
}
