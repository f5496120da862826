/** A channel name from typed text: `Tea & biscuits` is `tea-biscuits`. */
export const nameFrom = (text: string): string =>
  text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 40)

/** The initials of a name: at most two letters. */
export const initialsOf = (name: string): string =>
  name
    .split(/\s+/)
    .slice(0, 2)
    .map((word) => [...word][0] ?? "")
    .join("")
    .toUpperCase()

/** A hue in degrees, always the same for the same name. */
export const hueOf = (name: string): number => {
  let hash = 7
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)!) % 360
  return hash
}

/** Several names as a part of a sentence: at most three, and how many there are besides. */
export const namesOf = (names: ReadonlyArray<string>): string => {
  const others = names.length - 3
  const parts = others > 0 ? [...names.slice(0, 3), others === 1 ? "1 other" : `${others} others`] : names
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`
}
