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
