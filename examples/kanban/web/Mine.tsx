import type { Board } from "../schema.ts"
import { useLive } from "./client.ts"
import { addressOf } from "./location.ts"

/** The open cards that are assigned to the user, of all boards. */
export const Mine = ({ boards }: { readonly boards: ReadonlyArray<Board> }) => {
  const { value: cards } = useLive("cards.mine", {})
  if (cards === undefined) return null
  const nameOf = (board: string) => boards.find(({ id }) => id === board)?.name ?? ""
  return cards.length === 0 ? (
    <p className="empty">Nothing is assigned to you.</p>
  ) : (
    <ul className="mine" aria-label="Assigned to me">
      {cards.map((card) => (
        <li key={card.id}>
          <a href={addressOf(nameOf(card.board))}>
            <span className="title">{card.title}</span> <span className="facts">{nameOf(card.board)}</span>
          </a>
        </li>
      ))}
    </ul>
  )
}
