/**
 * Compares secrets and signatures.
 * How long it takes says nothing about where two of them differ.
 */
const utf8 = new TextEncoder()

/** Whether two texts are equal, in a time that depends on their lengths alone. */
export const equal = (a: string, b: string): boolean => {
  const [left, right] = [utf8.encode(a), utf8.encode(b)]
  let difference = left.length ^ right.length
  for (let i = 0; i < left.length; i++) difference |= left[i]! ^ (right[i] ?? 0)
  return difference === 0
}
