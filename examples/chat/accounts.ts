import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Storage } from "effect-dormouse"
import { Accounts } from "effect-dormouse/accounts"
import { Passkeys } from "effect-dormouse/accounts/passkeys"
import { teamId, teams } from "./digest/schema.ts"
import { guestName, shownName } from "./names.ts"
import { markOf, readMarks } from "./reading/schema.ts"
import { channels, members } from "./schema.ts"

/** Where the page is: passkeys belong to its domain. */
const site = Config.map(Config.withDefault(Config.String("ORIGIN"), "http://localhost:8787"), (origin) => ({
  rpId: new URL(origin).hostname,
  rpName: "Dormouse chat",
  origins: [origin]
}))

/** The accounts of the chat. A visitor has one from the first visit on; a name and a password can be added later. */
export const accounts = Accounts.make({
  passkeys: Passkeys.make(site),
  claims: ({ id, methods }) => {
    const password = methods.find(({ method }) => method === "password")
    return Effect.succeed({
      name: password === undefined ? guestName(id) : shownName(password.subject),
      isGuest: methods.length === 0,
      // Who can sign in again is in the second team as well.
      tenants: methods.length === 0 ? [] : ["acme"]
    })
  },
  // A guest who signs in brings the private channels along. No policy allows this to a caller.
  merge: ({ from, into }) => Storage.unrestricted(bring(from, into))
})

const bring = Effect.fnUntraced(function* (from: string, into: string) {
  const team = yield* teams.query().first
  if (Option.isSome(team) && team.value.owner === from) yield* teams.patch(teamId, { owner: into })
  for (const { id } of yield* channels.query("byOwner").eq("owner", from)) yield* channels.patch(id, { owner: into })
  for (const { channel, id } of yield* members.query("byPerson").eq("person", from)) {
    const isMember = yield* members.query("byChannel").eq("channel", channel).eq("person", into).exists
    yield* isMember ? members.delete(id) : members.patch(id, { person: into })
  }
  for (const { channel, id, upTo } of yield* readMarks.query("byPerson").eq("person", from)) {
    const own = yield* markOf(channel, into)
    if (Option.isNone(own)) yield* readMarks.patch(id, { person: into })
    else {
      yield* readMarks.delete(id)
      yield* readMarks.patch(own.value.id, { upTo: DateTime.max(own.value.upTo, upTo) })
    }
  }
})
