/**
 * Places in a list as texts that sort: between two there is always a third, so that a move changes one row.
 * Server and page place with the same function, which is why the page shows a move at once where the server will put it.
 */
import { generateKeyBetween } from "fractional-indexing"

/** Something that has a place among others. */
export interface Placed {
  readonly id: string
  readonly position: string
}

/**
 * The position behind `after` in a list that is in order: the first for `null`, the last if `after` is not in the list. What
 * is moved may be in the list itself.
 */
export const positionAfter = (list: ReadonlyArray<Placed>, after: string | null, moved?: string): string => {
  const others = list.filter(({ id }) => id !== moved)
  const found = others.findIndex(({ id }) => id === after)
  const at = after === null ? 0 : found === -1 ? others.length : found + 1
  return generateKeyBetween(others[at - 1]?.position ?? null, others[at]?.position ?? null)
}

/** The position behind `last`, the position of what is last; the first one if nothing is there. */
export const positionAtEnd = (last: string | undefined): string => generateKeyBetween(last ?? null, null)

/** The order of a list. Positions are ASCII: SQLite orders them as JavaScript does. */
export const byPosition = (a: Placed, b: Placed): number =>
  a.position < b.position ? -1 : a.position > b.position ? 1 : 0
