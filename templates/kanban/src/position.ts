import { generateKeyBetween } from "fractional-indexing"

/**
 * The order of columns and cards, as fractional indexes: each has a key, and keys sort as text. Between two keys there is
 * always a third, so that moving a card changes no other row. `null` is before the first and after the last.
 */
export const between: (before: string | null, after: string | null) => string = generateKeyBetween

/** The key of an item that is moved to just after another one, or to the front. */
export const placeAfter = <Id>(
  items: ReadonlyArray<{ readonly id: Id; readonly position: string }>,
  moved: Id | null,
  after: Id | null
): string => {
  const others = items.filter(({ id }) => id !== moved)
  const index = others.findIndex(({ id }) => id === after)
  return between(others[index]?.position ?? null, others[index + 1]?.position ?? null)
}
