/**
 * The digest of a team: a cron that each tenant has for itself, at midnight of its own time zone.
 * It is written by the system, about public channels alone.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Storage } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Cron } from "effect-dormouse/jobs"
import { channels, messages } from "../schema.ts"
import { DigestApi } from "./api.ts"
import { type Team, teamId, teams } from "./schema.ts"

const cron = "digest"
const midnight = "0 0 * * *"

export const DigestHandlers = DigestApi.toLayer({
  "team.get": Effect.fnUntraced(function* () {
    const team = yield* Effect.option(teams.get(teamId))
    const crons = yield* Cron.list
    const next = crons.find(({ name }) => name === cron)?.next ?? null
    return Option.isSome(team) ? { ...team.value, next } : null
  }),

  "team.setDigest": Effect.fnUntraced(function* ({ channel, zone }) {
    // The policy allows it to the owner alone.
    yield* teams
      .patch(teamId, { zone, channel })
      .pipe(Effect.catchTag("RowNotFound", () => Effect.fail(Auth.forbidden)))
    yield* channel === null
      ? Cron.remove(cron)
      : Cron.set(cron, midnight, { zone, api: DigestApi, tag: "digest.write", payload: {}, as: "system" })
  }),

  "digest.write": Effect.fnUntraced(function* () {
    yield* Auth.require(Auth.isSystem)
    const team = yield* Effect.option(teams.get(teamId))
    if (Option.isNone(team)) return
    const { channel } = team.value
    const sentAt = yield* DateTime.now
    const body = yield* textOf(team.value)
    yield* Effect.orDie(teams.patch(teamId, { since: sentAt }))
    if (channel === null || body === "") return
    // Messages have an author and a name, which policies take from a caller. The system has none.
    yield* Storage.unrestricted(messages.insert({ channel, author: "dormouse", name: "Dormouse", body, sentAt }))
  })
})

/** How many messages each public channel got since the last digest. Empty if there are none. */
const textOf = Effect.fnUntraced(function* ({ since, zone }: Team) {
  const lines: Array<string> = []
  for (const { access, id, name } of yield* channels.query("byName")) {
    if (access !== "public") continue
    const count = yield* messages.query("byChannel").eq("channel", id).gt("sentAt", since).count
    if (count > 0) lines.push(`#${name}: ${count} ${count === 1 ? "message" : "messages"}`)
  }
  const day = DateTime.format(since, { locale: "en", timeZone: zone, dateStyle: "full" })
  return lines.length === 0 ? "" : [`Since ${day}:`, ...lines].join("\n")
})
