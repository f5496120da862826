import { useState } from "react"
import type { Board as BoardRow, CardId, Person } from "../schema.ts"
import { CardDialog } from "./CardDialog.tsx"
import { Column } from "./Column.tsx"
import { cardsOf, useChanges } from "./changes.ts"
import { useLive, useMutation } from "./client.ts"
import { ProgressLine } from "./ProgressLine.tsx"

interface Props {
  readonly board: BoardRow
  readonly me: Person
}

/** The columns of a board with their cards. */
export const Board = ({ board, me }: Props) => {
  const { value: columns = [] } = useLive("columns.list", { board: board.id })
  const { isOptimistic, value: cards } = useLive("cards.list", { board: board.id })
  const { value: people = [] } = useLive("people.list", {})
  const changes = useChanges(board.id, columns, me.id)
  const [opened, open] = useState<CardId>()
  const [addColumn] = useMutation("columns.add")
  const card = cards?.find(({ id }) => id === opened)
  return (
    <>
      <div className="line">
        <ProgressLine board={board.id} />
        <p role="status" aria-label="Saving">
          {isOptimistic ? "Saving…" : ""}
        </p>
      </div>
      <div className="columns">
        {cards !== undefined &&
          columns.map((column, index) => (
            <Column
              key={column.id}
              column={column}
              cards={cardsOf(cards, column.id)}
              people={people}
              previous={columns[index - 1]}
              next={columns[index + 1]}
              changes={changes}
              onOpen={open}
            />
          ))}
        <button
          type="button"
          className="plain add-column"
          onClick={() => addColumn({ board: board.id, name: "New column" }).catch(() => undefined)}
        >
          Add a column
        </button>
      </div>
      {card !== undefined && (
        <CardDialog
          key={card.id}
          card={card}
          columns={columns}
          people={people}
          me={me}
          changes={changes}
          onClose={() => open(undefined)}
        />
      )}
    </>
  )
}
