/**
 * The order of columns and cards, as fractional indexes: each has a key, and keys sort as text. Between two keys there is
 * always a third, so that moving a card changes no other row.
 */

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/**
 * A key after `before` and before `after`; `null` is the end of the list. Keys are the digits of a fraction, and none ends
 * with the digit 0. `before` must be less than `after`.
 */
export const between = (before: string | null, after: string | null): string => {
  const low = before === null || before === "" ? 0 : digits.indexOf(before[0]!)
  const high = after === null ? digits.length : digits.indexOf(after[0]!)
  const rest = before === null ? null : before.slice(1)
  if (low === high) return digits[low]! + between(rest, after!.slice(1))
  if (high - low > 1) return digits[(low + high) >> 1]!
  // The two digits are neighbors: the first digit of the second key alone, if that is less, or else more digits.
  return after !== null && after.length > 1 ? after[0]! : digits[low]! + between(rest, null)
}

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
