const moods = ["Quiet", "Sleepy", "Gentle", "Brave", "Early", "Golden", "Mossy", "Curious"]
const things = ["Hazel", "Acorn", "Fern", "Bramble", "Clover", "Maple", "Willow", "Birch"]

/** The name of an account that has none yet: always the same for the same id, such as `Quiet Hazel 482`. */
export const guestName = (id: string): string => {
  let hash = 7
  for (const letter of id) hash = (hash * 31 + letter.codePointAt(0)!) % 64_000
  return `${moods[hash % 8]} ${things[Math.floor(hash / 8) % 8]} ${Math.floor(hash / 64)}`
}

/** The name of a person as it is shown, from the name that the account signs in with, which has no capital letters. */
export const shownName = (name: string): string =>
  name
    .trim()
    .toLowerCase()
    .replace(/(?<=^|[\s-])\p{L}/gu, (letter) => letter.toUpperCase())
