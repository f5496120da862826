/** How a card is moved without the mouse, and what a dragged one carries. */
import type { Card, CardId, Column } from "../schema.ts"

/** The type under which a dragged card carries its id. */
export const dragged = "text/x-dormouse-card"

/** A direction in which the arrow keys move a card. */
export type Direction = "up" | "down" | "left" | "right"

/** Where a card of a column comes by one step. A card that enters a column comes to its front. */
export const stepOf = (
  direction: Direction,
  cards: ReadonlyArray<Card>,
  index: number,
  previous: Column | undefined,
  next: Column | undefined
): { readonly column?: Column["id"]; readonly after: CardId | null } | undefined => {
  switch (direction) {
    case "up":
      return index === 0 ? undefined : { after: cards[index - 2]?.id ?? null }
    case "down":
      return index === cards.length - 1 ? undefined : { after: cards[index + 1]?.id ?? null }
    case "left":
      return previous && { column: previous.id, after: null }
    case "right":
      return next && { column: next.id, after: null }
  }
}
