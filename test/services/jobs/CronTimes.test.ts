import { Cron as Croner } from "croner"
import * as EffectCron from "effect/Cron"
import { Api, Mutation } from "effect-dormouse"
import { Cron } from "effect-dormouse/jobs"
import { describe, expect, it } from "vitest"
import { dueAt, nextAfter, tolerance } from "../../../src/services/outbox/Crons.ts"
import { forAll, type Random, Violation } from "../../random.ts"

/** The times of crons against a second implementation, which walks from minute to minute by the local time of `Intl`. */

const minute = 60_000
const day = 24 * 60 * minute

type Overlap = "earlier" | "later" | "both"

/** A time in UTC before each change of the clocks, and the zone. */
const changes: ReadonlyArray<readonly [zone: string, before: string]> = [
  ["Europe/Berlin", "2026-03-28T12:00Z"],
  ["Europe/Berlin", "2026-10-24T12:00Z"],
  ["America/New_York", "2026-03-07T12:00Z"],
  ["America/New_York", "2026-10-31T12:00Z"],
  // By half an hour.
  ["Australia/Lord_Howe", "2026-04-03T12:00Z"],
  ["Australia/Lord_Howe", "2026-10-02T12:00Z"],
  // At midnight, and since 2019 no more.
  ["America/Sao_Paulo", "2018-02-16T12:00Z"],
  ["America/Sao_Paulo", "2018-11-02T12:00Z"],
  ["America/Sao_Paulo", "2026-10-17T12:00Z"]
]

/** The end of the one gap that is no whole hour. */
const halfGap = Date.parse("2026-10-03T15:30Z")

/** What a field of an expression allows. */
interface Field {
  readonly text: string
  readonly has: (value: number) => boolean
}

const any: Field = { text: "*", has: () => true }

/** A field from `low` to `high`: all, one, some, a range, or every so many. */
const fieldOf = (random: Random, low: number, high: number, around: ReadonlyArray<number>): Field => {
  const one = () => (random.chance(0.7) ? random.pick(around) : low + random.int(high - low + 1))
  switch (random.int(5)) {
    case 0:
      return any
    case 1: {
      const value = one()
      return { text: `${value}`, has: (other) => other === value }
    }
    case 2: {
      const values = random.array(2 + random.int(2), one)
      return { text: values.join(","), has: (other) => values.includes(other) }
    }
    case 3: {
      const [first, last] = [one(), one()].sort((a, b) => a - b) as [number, number]
      return { text: `${first}-${last}`, has: (other) => other >= first && other <= last }
    }
    default: {
      const step = random.pick([2, 5, 7, 15, 20])
      return { text: `*/${step}`, has: (other) => (other - low) % step === 0 }
    }
  }
}

interface Expression {
  readonly text: string
  readonly has: (local: Local) => boolean
}

interface Local {
  readonly minute: number
  readonly hour: number
  readonly day: number
  readonly month: number
  readonly weekday: number
}

const expressionOf = (random: Random): Expression => {
  const minutes = fieldOf(random, 0, 59, [0, 15, 30, 45, 59])
  const hours = fieldOf(random, 0, 23, [0, 1, 2, 3, 23])
  const weekdays = random.chance(0.3)
    ? random.pick([
        { text: "0", has: (day: number) => day === 0 },
        { text: "1-5", has: (day: number) => day > 0 && day < 6 }
      ])
    : any
  return {
    text: `${minutes.text} ${hours.text} * * ${weekdays.text}`,
    has: (local) => minutes.has(local.minute) && hours.has(local.hour) && weekdays.has(local.weekday)
  }
}

const formats = new Map<string, Intl.DateTimeFormat>()
/** The local time as if it were UTC. */
const localOf = (zone: string, time: number): number => {
  let format = formats.get(zone)
  if (format === undefined) {
    const numeric = "numeric"
    const fields = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric } as const
    format = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", ...fields })
    formats.set(zone, format)
  }
  const part = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]))
  return Date.UTC(part["year"]!, part["month"]! - 1, part["day"]!, part["hour"]!, part["minute"]!)
}

const partsOf = (local: number): Local => {
  const date = new Date(local)
  return {
    minute: date.getUTCMinutes(),
    hour: date.getUTCHours(),
    day: date.getUTCDate(),
    month: date.getUTCMonth() + 1,
    weekday: date.getUTCDay()
  }
}

/**
 * The occurrences between two times, minute by minute. Of the local times that a gap leaves out the first one counts, later by
 * the length of the gap. Of those that come twice the first, the second or both count.
 */
const walk = (expression: Expression, zone: string, from: number, to: number, overlap: Overlap): Array<number> => {
  const times = new Map<number, Array<number>>()
  const occurrences = new Set<number>()
  let last = localOf(zone, from - 3 * 60 * minute)
  for (let time = from - 3 * 60 * minute + minute; time <= to + 3 * 60 * minute; time += minute) {
    const local = localOf(zone, time)
    for (let skipped = last + minute; skipped < local; skipped += minute) {
      if (!expression.has(partsOf(skipped))) continue
      occurrences.add(time + (skipped - last - minute))
      break
    }
    last = local
    times.set(local, [...(times.get(local) ?? []), time])
  }
  for (const [local, [first = 0, second]] of times) {
    if (!expression.has(partsOf(local))) continue
    if (second === undefined || overlap !== "later") occurrences.add(first)
    if (second !== undefined && overlap !== "earlier") occurrences.add(second)
  }
  return [...occurrences].filter((time) => time > from && time <= to).sort((a, b) => a - b)
}

const timing = (expression: string, zone: string, onDstOverlap: Overlap) =>
  ({ _tag: "Cron", expression, zone, onDstOverlap }) as const

/** Compares the times of a random expression over a change of the clocks. */
const compare = (random: Random, next: typeof nextAfter, only?: Overlap): void => {
  const [zone, before] = random.pick(changes)
  const overlap = only ?? random.pick(["earlier", "later", "both"] as const)
  const expression = expressionOf(random)
  const from = Date.parse(before) + random.int(600) * minute
  const to = from + 1.5 * day
  const expected = walk(expression, zone, from, to, overlap)
  const actual: Array<number> = []
  const cron = timing(expression.text, zone, overlap)
  try {
    for (let time = next(cron, from); time <= to; time = next(cron, time)) actual.push(time)
  } catch (cause) {
    throw new Violation(`${expression.text} in ${zone} from ${new Date(from).toISOString()}: ${cause}`)
  }
  // After a gap of half an hour, Effect leaves out some of the next half hour: it looks on from the time that was moved.
  const isAfterHalf = (time: number) =>
    zone === "Australia/Lord_Howe" && time >= halfGap && time < halfGap + 30 * minute
  const text = (times: ReadonlyArray<number>) =>
    times.filter((time) => !isAfterHalf(time)).map((time) => new Date(time).toISOString())
  expect({ cron, times: text(actual) }).toEqual({ cron, times: text(expected) })
}

class TickApi extends Api.make(Mutation.make("tick", { payload: {} })) {}

/** Whether a time is in the hour after clocks were set forward. */
const isAfterGap = (zone: string, time: number): boolean => {
  const passed = localOf(zone, time) - localOf(zone, time - 60 * minute)
  return passed > 60 * minute
}

describe("the times of crons", () => {
  it("J14: are those of the local time of their zone, also when clocks change", () => {
    forAll(25, (random) => compare(random, nextAfter))
  })

  it("J14: are those of another implementation, but for occurrences that a gap leaves out", () => {
    forAll(25, (random) => {
      const [zone, before] = random.pick(changes)
      const { text: expression } = expressionOf(random)
      const from = Date.parse(before) + random.int(600) * minute
      const to = from + 1.5 * day
      const { timing } = Cron.job("x", expression, { zone, api: TickApi, tag: "tick", payload: {} }).definition
      const other = new Croner(expression, { timezone: zone, paused: true, fixedTimeRule: "no-wildcard" })
      const expected: Array<number> = []
      let next = other.nextRun(new Date(from))
      for (; next !== null && next.getTime() <= to; next = other.nextRun(next)) expected.push(next.getTime())
      const actual: Array<number> = []
      for (let time = nextAfter(timing, from); time <= to; time = nextAfter(timing, time)) actual.push(time)
      // It has other rules there.
      const text = (times: ReadonlyArray<number>) =>
        times.filter((time) => !isAfterGap(zone, time)).map((time) => new Date(time).toISOString())
      expect({ expression, zone, times: text(actual) }).toEqual({ expression, zone, times: text(expected) })
    })
  })

  it("J14: when clocks are set back, what repeats within a day goes on, and a time of the day comes once", () => {
    const times = (expression: string) => {
      const options = { zone: "Europe/Berlin", api: TickApi, tag: "tick", payload: {} } as const
      const { timing } = Cron.job("x", expression, options).definition
      const found: Array<string> = []
      const end = Date.parse("2026-10-25T02:00Z")
      for (let time = nextAfter(timing, Date.parse("2026-10-24T23:59Z")); time < end; time = nextAfter(timing, time)) {
        found.push(new Date(time).toISOString().slice(11, 16))
      }
      return found
    }
    // From 00:00Z to 01:00Z, and from there to 02:00Z, it is 02:00 to 03:00 in Berlin.
    expect(times("*/30 * * * *")).toEqual(["00:00", "00:30", "01:00", "01:30"])
    expect(times("30 * * * *")).toEqual(["00:30", "01:30"])
    expect(times("30 2 * * *")).toEqual(["00:30"])
    expect(times("0,30 2 * * *")).toEqual(["00:00", "00:30"])
  })

  it("J14: a comparison finds times that do not know the zone", () => {
    const inUtc: typeof nextAfter = (cron, time) =>
      EffectCron.next(
        EffectCron.parseUnsafe((cron as { readonly expression: string }).expression, "UTC"),
        time
      ).getTime()
    expect(() => forAll(300, (random) => compare(random, inUtc))).toThrow(Violation)
  })

  it("J13: of the occurrences until now the latest are made up for, in their order", () => {
    forAll(300, (random) => {
      const every = random.chance(0.5)
      const missed = random.int(4)
      const zone = random.pick(changes)[0]
      const period = (1 + random.int(90)) * minute
      const cron = every
        ? ({ _tag: "Every", millis: period } as const)
        : timing(random.pick(["* * * * *", "*/7 * * * *", "0 * * * *"]), zone, "both")
      const first = nextAfter(cron, Date.parse("2026-01-10T12:00Z") + random.int(1000) * minute)
      const now = first + random.int(300) * (minute / 2)
      const all: Array<number> = []
      let time = first
      for (; time <= now; time = nextAfter(cron, time)) all.push(time)
      const due = dueAt({ definition: { timing: cron, missed } as never, next: first }, now)
      const isOnTime = now - all.at(-1)! <= tolerance
      const count = isOnTime ? Math.max(1, missed) : missed
      expect(due).toEqual({ occurrences: count === 0 ? [] : all.slice(-count), next: time })
    })
  })
})
