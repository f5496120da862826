const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" })
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long" })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" })

const dayMillis = 86_400_000

/** The local day of an instant, as a day number. */
export const dayOf = (millis: number): number => {
  const at = new Date(millis)
  return Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / dayMillis
}

/** The local time of day. */
export const timeOf = (millis: number): string => clock.format(millis)
/** The local date and time. */
export const fullTimeOf = (millis: number): string => full.format(millis)

/** The name of a day relative to now: `Today`, `Yesterday`, a weekday, or a date. */
export const nameOfDay = (millis: number, now: number): string => {
  const ago = dayOf(now) - dayOf(millis)
  if (ago === 0) return "Today"
  if (ago === 1) return "Yesterday"
  return ago > 1 && ago < 7 ? weekday.format(millis) : date.format(millis)
}
