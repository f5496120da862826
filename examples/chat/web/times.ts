const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" })
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long" })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" })
const near = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit"
})
const far = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })

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

/** A time of today as `at 14:03`, any other as a date with the time. */
export const soonOf = (millis: number, now: number): string =>
  dayOf(millis) === dayOf(now)
    ? `at ${timeOf(millis)}`
    : `on ${(new Date(millis).getFullYear() === new Date(now).getFullYear() ? near : far).format(millis)}`

/** Local times that one may want to wait for. */
export const laterTimes = (now: number): ReadonlyArray<readonly [label: string, millis: number]> => {
  const morning = (days: number) => {
    const at = new Date(now)
    return new Date(at.getFullYear(), at.getMonth(), at.getDate() + days, 9).getTime()
  }
  // Sunday is 0. On a Sunday or a Monday, it is the Monday in a week.
  const untilMonday = (8 - new Date(now).getDay()) % 7 || 7
  return [
    ["In 10 minutes", now + 600_000],
    ["In an hour", now + 3_600_000],
    ["Tomorrow morning", morning(1)],
    ["Next Monday morning", morning(untilMonday === 1 ? 8 : untilMonday)]
  ]
}

/** A local time as the value of a date-time field, to the minute. */
export const toField = (millis: number): string => {
  const at = new Date(millis)
  return new Date(millis - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/** The date and the time in a time zone, with the name of the zone. */
export const inZone = (millis: number, timeZone: string): string =>
  new Intl.DateTimeFormat(undefined, {
    weekday: "long",
    day: "numeric",
    month: "long",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZone,
    timeZoneName: "short"
  }).format(millis)
