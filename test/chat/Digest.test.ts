import { expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { describe } from "vitest"
import { becomes, inTestTime, type Person, person, tagOf, untyped } from "./people.ts"

/** The nightly digest of examples/chat: a cron in the time zone of the team. */

const next = (client: Person) =>
  Effect.map(client.query("team.get", {}), (team) => (team?.next ? DateTime.formatIso(team.next) : null))

/** A team with a public and a private channel, whose digest is written in this zone. */
const team = Effect.fnUntraced(function* (now: string, zone: string) {
  yield* TestClock.setTime(DateTime.toEpochMillis(DateTime.makeUnsafe(now)))
  const [ada, bob] = [yield* person("Ada"), yield* person("Bob")]
  const { id: channel } = yield* ada.mutate("channels.create", { name: "general", access: "public" })
  const { id: secret } = yield* ada.mutate("channels.create", { name: "secret", access: "private" })
  yield* ada.mutate("team.setDigest", { channel, zone })
  const say = (body: string) => ada.mutate("messages.send", { channel, body })
  const digests = Effect.map(bob.query("messages.list", { channel, limit: 100 }), (all) =>
    all
      .filter(({ author }) => author === "dormouse")
      .map(({ body, sentAt }) => `${DateTime.formatIso(sentAt)} ${body}`)
      .toReversed()
  )
  return { ada, bob, channel, digests, say, secret }
})

describe("the digest", () => {
  it.effect.each([
    {
      zone: "Europe/Berlin",
      now: "2026-03-27T12:00:00.000Z",
      nights: ["2026-03-27T23:00:00.000Z", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"],
      days: ["Friday, March 27", "Saturday, March 28", "Sunday, March 29"]
    },
    {
      zone: "America/New_York",
      now: "2026-10-30T12:00:00.000Z",
      nights: ["2026-10-31T04:00:00.000Z", "2026-11-01T04:00:00.000Z", "2026-11-02T05:00:00.000Z"],
      days: ["Friday, October 30", "Saturday, October 31", "Sunday, November 1"]
    }
  ])("is written at each midnight of $zone, also when clocks are set", ({ days, nights, now, zone }) =>
    Effect.gen(function* () {
      const { ada, digests, say } = yield* team(now, zone)
      const written: Array<string> = []
      for (const [i, night] of nights.entries()) {
        expect(yield* next(ada)).toBe(night)
        yield* TestClock.adjust(1)
        yield* say("good night")
        yield* TestClock.setTime(DateTime.toEpochMillis(DateTime.makeUnsafe(night)) - 1)
        expect(yield* digests).toEqual(written)
        yield* TestClock.adjust(1)
        written.push(`${night} Since ${days[i]}, 2026:\n#general: 1 message`)
        yield* becomes(
          Effect.map(digests, (all) => all.length),
          written.length
        )
      }
      expect((yield* digests).map((digest) => digest.replace(/\.\d+Z/, ".000Z"))).toEqual(written)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("moves with the zone, ends when it is switched off, and belongs to who made the first channel", () =>
    Effect.gen(function* () {
      const { ada, bob, channel } = yield* team("2026-06-01T12:00:00.000Z", "Europe/Berlin")
      expect(yield* next(bob)).toBe("2026-06-01T22:00:00.000Z")
      expect(yield* tagOf(bob.mutate("team.setDigest", { channel, zone: "UTC" }))).toBe("Forbidden")
      expect(yield* next(bob)).toBe("2026-06-01T22:00:00.000Z")
      yield* ada.mutate("team.setDigest", { channel, zone: "Asia/Tokyo" })
      expect(yield* next(bob)).toBe("2026-06-01T15:00:00.000Z")
      const mars = yield* Effect.exit(ada.mutate("team.setDigest", { channel, zone: "Mars/Olympus" }))
      expect(mars._tag).toBe("Failure")
      yield* ada.mutate("team.setDigest", { channel: null, zone: "UTC" })
      expect(yield* next(bob)).toBe(null)
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )

  it.effect("counts public channels alone, says nothing of a quiet day, and is written by nobody else", () =>
    Effect.gen(function* () {
      const { ada, digests, secret } = yield* team("2026-06-01T12:00:00.000Z", "UTC")
      yield* ada.mutate("messages.send", { channel: secret, body: "hush" })
      expect(yield* tagOf(untyped(ada).mutate("digest.write", {}))).toBe("Outdated")
      yield* TestClock.adjust("13 hours")
      yield* becomes(next(ada), "2026-06-03T00:00:00.000Z")
      expect(yield* digests).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(inTestTime))
  )
})
