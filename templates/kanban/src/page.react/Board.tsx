import { type DragEvent, type FormEvent, useState } from "react"
import { placeAfter } from "../position.ts"
import { type BoardId, Card, CardId, type Column } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"

type Move = (card: CardId, column: Column["id"], after: CardId | null) => void

/** The columns of a board with their cards, which are dragged, or moved with the arrow buttons. */
export const Board = ({ board, me }: { readonly board: BoardId; readonly me: string }) => {
  const { value: columns } = useLive("columns.list", { board })
  const { error, value: cards } = useLive("cards.list", { board })
  // The card is moved at once. The server's order replaces this one when it arrives.
  const [call] = useMutation("cards.move", {
    optimistic: (view, { after, card, column }) =>
      view.update("cards.list", { board }, (cards) => {
        const list = cards.filter((each) => each.column === column)
        const position = placeAfter(list, card, after ?? null)
        const moved = cards.map((each) => (each.id === card ? new Card({ ...each, column, position }) : each))
        return moved.toSorted((one, other) => (one.position < other.position ? -1 : 1))
      })
  })
  const move: Move = (card, column, after) => void call({ card, column, after })
  return (
    <>
      {error !== undefined && <p role="alert">{error.message}</p>}
      <div className="board">
        {columns?.map((column, i) => (
          <ColumnView
            key={column.id}
            column={column}
            neighbors={[columns[i - 1], columns[i + 1]]}
            cards={cards?.filter((card) => card.column === column.id) ?? []}
            me={me}
            move={move}
          />
        ))}
      </div>
    </>
  )
}

interface ColumnProps {
  readonly column: Column
  readonly neighbors: readonly [before: Column | undefined, after: Column | undefined]
  readonly cards: ReadonlyArray<Card>
  readonly me: string
  readonly move: Move
}

const ColumnView = ({ cards, column, me, move, neighbors }: ColumnProps) => {
  const last = cards.at(-1)?.id ?? null
  const drop = (event: DragEvent, after: CardId | null) => {
    event.preventDefault()
    event.stopPropagation()
    const card = CardId.make(event.dataTransfer.getData("text/plain"))
    if (card !== after) move(card, column.id, after)
  }
  return (
    <section
      aria-label={column.title}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => drop(event, last)}
    >
      <h2>{column.title}</h2>
      <ul className="cards">
        {cards.map((card) => (
          <CardView
            key={card.id}
            card={card}
            neighbors={neighbors}
            me={me}
            move={move}
            onDrop={(event) => drop(event, card.id)}
          />
        ))}
      </ul>
      <AddCard column={column} />
    </section>
  )
}

interface CardProps {
  readonly card: Card
  readonly neighbors: ColumnProps["neighbors"]
  readonly me: string
  readonly move: Move
  readonly onDrop: (event: DragEvent) => void
}

const CardView = ({ card, me, move, neighbors: [before, after], onDrop }: CardProps) => {
  const [assign] = useMutation("cards.assign")
  const [remove] = useMutation("cards.remove")
  const isMine = card.assignee !== null && card.assignee === me
  return (
    <li
      draggable
      data-mine={isMine}
      onDragStart={(event) => event.dataTransfer.setData("text/plain", card.id)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={onDrop}
    >
      <p>{card.title}</p>
      <div>
        <button
          type="button"
          disabled={me === "" && card.assignee === null}
          onClick={() => assign({ card: card.id, assignee: isMine || me === "" ? null : me })}
        >
          {card.assignee ?? "Take"}
        </button>
        {before !== undefined && (
          <button type="button" aria-label={`Move to ${before.title}`} onClick={() => move(card.id, before.id, null)}>
            ←
          </button>
        )}
        {after !== undefined && (
          <button type="button" aria-label={`Move to ${after.title}`} onClick={() => move(card.id, after.id, null)}>
            →
          </button>
        )}
        <button type="button" aria-label={`Remove ${card.title}`} onClick={() => remove({ card: card.id })}>
          ×
        </button>
      </div>
    </li>
  )
}

const AddCard = ({ column }: { readonly column: Column }) => {
  const [title, setTitle] = useState("")
  const [add, isPending] = useMutation("cards.add")
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await add({ column: column.id, title: title.trim() })
    if (outcome._tag === "Success") setTitle("")
  }
  return (
    <form onSubmit={submit}>
      <input
        aria-label={`New card in ${column.title}`}
        placeholder="New card"
        maxLength={200}
        value={title}
        onChange={(event) => setTitle(event.target.value)}
      />
      <button type="submit" disabled={isPending || title.trim() === ""}>
        Add
      </button>
    </form>
  )
}
